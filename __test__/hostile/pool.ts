/** Runs cases, each in a process and a folder of its own, a few at a time. */
import { spawn } from 'node:child_process'
import { cpSync, lchownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Case } from './case.js'
import { put } from './contents.js'
import { judge, type Report } from './judge.js'

export interface Result {
  name: string
  problems: string[]
  /** From the process's start to its end. */
  seconds: number
  /** Of all processors, in seconds: what does not depend on who else is at work. */
  cpu: number
  /** The most that was resident, in MiB. */
  memory: number
}

const HANG = 20_000
/** The user `nobody`. */
const NOBODY = 65_534

/** Runs a case; `base` is the valid model's folder. */
export async function run(one: Case, base: string): Promise<Result> {
  const around = mkdtempSync(join(tmpdir(), 'swift-tuners-hostile-'))
  const folder = join(around, 'case')
  mkdirSync(folder)
  put(folder, one.files)
  const user = one.skipIfRoot && process.getuid?.() === 0 ? NOBODY : undefined
  if (user === undefined) symlinkSync(base, join(around, '_base'))
  else give(around, base, user)
  const { report, problems, seconds } = await processed(one, folder, user)
  if (report) problems.push(...judge(one, report, folder))
  if (readdirSync(around).some(name => name !== 'case' && name !== '_base')) problems.push('wrote outside of its folder')
  rmSync(around, { recursive: true, force: true })
  return { name: one.name, problems, seconds, cpu: report?.cpu ?? 0, memory: report?.memory ?? 0 }
}

/** Puts a copy of the base beside the case, and makes all of it somebody's. */
function give(around: string, base: string, user: number): void {
  cpSync(base, join(around, '_base'), { recursive: true })
  for (const name of ['.', ...readdirSync(around, { recursive: true, encoding: 'utf8' })]) lchownSync(join(around, name), user, user)
}

function processed(one: Case, folder: string, user?: number): Promise<{ report?: Report; problems: string[]; seconds: number }> {
  const begun = performance.now()
  const command = [join(__dirname, 'driver.js'), one.what, JSON.stringify(one.args), ...(user === undefined ? [] : [String(user)])]
  const child = spawn(process.execPath, command, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  const text = { out: '', err: '' }
  child.stdout.on('data', (chunk: Buffer) => { text.out += chunk })
  child.stderr.on('data', (chunk: Buffer) => { text.err += chunk })
  let hung = false
  const timer = setTimeout(() => { hung = child.kill('SIGKILL') }, HANG)
  return new Promise(done => child.once('close', (status, signal) => {
    clearTimeout(timer)
    const seconds = (performance.now() - begun) / 1000
    const line = text.out.trim().split('\n').at(-1)!
    const problems = hung ? [`does not end within ${HANG / 1000} s`]
      : status !== 0 ? [`ended with ${signal ?? `status ${status}`}: ${text.err.slice(-300)}`]
        : line === '' ? ['no report'] : []
    done({ report: problems.length ? undefined : JSON.parse(line), problems, seconds })
  }))
}

/** All results, in the order in which they come. */
export async function pool(cases: Iterable<Case>, base: string, workers: number): Promise<Result[]> {
  const next = cases[Symbol.iterator]()
  const out: Result[] = []
  await Promise.all(Array.from({ length: workers }, async () => {
    for (let step = next.next(); !step.done; step = next.next()) out.push(await run(step.value, base))
  }))
  return out
}
