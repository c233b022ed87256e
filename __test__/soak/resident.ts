/** What a process holds: memory, open files, threads. */
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { figure, must } from './program.js'

const KIB = 1024
/** Threads that wait for work end after ten seconds without any. */
const IDLE = 12_000

/** Collects what nobody has any more, and lets finalizers run. */
export async function collected(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await new Promise(done => setImmediate(done))
  }
}

const resident = () => process.memoryUsage.rss() / KIB

/** Open files and threads; 0 where the system does not tell. */
export function held(): { files: number; threads: number } {
  if (process.platform !== 'linux') return { files: 0, threads: 0 }
  return { files: readdirSync('/proc/self/fd').length, threads: Number(/Threads:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) }
}

/**
 * What is held more than before. Calls that meet others begin a second pool, a thread per processor, which stays: those are not counted, and
 * further ones that wait for work have time to end.
 */
export async function more(before: { files: number; threads: number }): Promise<{ files: number; threads: number }> {
  const found = () => {
    const { files, threads } = held()
    return { files: files - before.files, threads: Math.max(0, threads - before.threads - availableParallelism()) }
  }
  // A call whose thread was terminated may still have its file open.
  for (const end = performance.now() + IDLE; performance.now() < end && (found().threads > 0 || found().files > 0);) await new Promise(done => setTimeout(done, 250))
  return found()
}

/** The slope of a line through values at 0, 1, 2, … (least squares). */
function slope(values: number[]): number {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((a, b) => a + b, 0) / values.length
  let [up, down] = [0, 0]
  for (const [i, value] of values.entries()) {
    up += (i - middle) * (value - mean)
    down += (i - middle) ** 2
  }
  return up / down
}

export interface Limits {
  /** Growth of resident memory from the end of the warm-up to the end, in MiB. */
  growth?: number
  /** Of resident memory, in KiB per round. */
  slope?: number
}

/** Runs `body` so often, collects after each, and says what has grown after the first fifth. */
export async function rounds(name: string, count: number, body: (round: number) => Promise<void> | void, limits: Limits, every = 1): Promise<void> {
  const memory: number[] = []
  const warm = Math.floor(count / 5)
  let before = held()
  for (let round = 0; round < count; round++) {
    await body(round)
    if (round % every > 0) continue
    await collected()
    if (round >= warm) {
      if (memory.length === 0) before = held()
      memory.push(resident())
    }
  }
  const grown = (memory.at(-1)! - memory[0]) / KIB
  const perRound = slope(memory) / every
  const { files, threads } = await more(before)
  figure(name, `${count} rounds, ${grown.toFixed(1)} MiB, ${perRound.toFixed(2)} KiB a round, ${files} files, ${threads} threads`)
  // Over few rounds what pages come and go by is more than what leaks.
  if (limits.growth !== undefined) must(grown < limits.growth, `${name}: grew by ${grown.toFixed(1)} MiB`)
  if (limits.slope !== undefined && memory.length >= 200) must(perRound < limits.slope, `${name}: grows by ${perRound.toFixed(2)} KiB a round`)
  must(files <= 0, `${name}: ${files} more open files`)
  must(threads === 0, `${name}: ${threads} more threads`)
}
