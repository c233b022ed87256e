/** Processes that end while something runs: with the status that was asked for, at once, and what they saved is whole. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { count, figure, median, must, program, random } from './program.js'
import { KINDS, prepared, target } from './saves.js'

/** How it ends, and with which status. */
const ENDS: Record<string, number | string> = { exit: 7, throw: 1, end: 0, SIGTERM: 'SIGTERM' }

/** The status, and milliseconds from the moment that it was to end. */
async function ended(task: string, folder: string, how: string): Promise<{ status: number | string | null; ms: number }> {
  const signal = how === 'SIGTERM'
  const child = spawn(process.execPath, [join(__dirname, 'busy.js'), task, folder, signal ? 'end' : how, String(Math.floor(random() * 1e6))], { stdio: ['ignore', 'pipe', 'ignore'] })
  let at = 0
  createInterface(child.stdout).once('line', line => {
    at = Number(line)
    if (signal) child.kill()
  })
  return new Promise(done => child.once('exit', (status, by) => done({ status: by ?? status, ms: Date.now() - at })))
}

program(async folder => {
  prepared(folder)
  const each = count(100, 2)
  for (const how of Object.keys(ENDS)) {
    const times: number[] = []
    for (const task of ['train', 'save', 'load']) {
      for (let i = 0; i < each; i++) {
        const { status, ms } = await ended(task, folder, how)
        times.push(ms)
        // It may be at its end before the signal comes.
        must(status === ENDS[how] || (how === 'SIGTERM' && status === 0), `${how} in ${task}: ended with ${status}`)
        if (task === 'save' && existsSync(target(folder))) await KINDS.swift.check(folder)
      }
    }
    figure(how, `${times.length} processes; a median of ${median(times).toFixed(0)} ms, at most ${Math.max(...times).toFixed(0)} ms`)
    must(Math.max(...times) < 2000, `${how}: a process took over two seconds to end`)
  }
})
