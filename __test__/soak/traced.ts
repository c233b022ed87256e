/** A process that saves while strace makes one of its system calls fail, or kills it there. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'

/** What came of a save. */
export interface Outcome {
  /** Calls on files of the save that were made to fail. */
  injected: string[]
  /** Whether another call was: of Node's own, which this is not about. */
  foreign: boolean
  /** Whether it was saved; undefined when the process has ended. */
  ok?: boolean
  code?: string
  message?: string
}

/** What strace does at the `at`-th call of a thread: `error=ENOSPC`, `signal=KILL`. */
export interface Injection {
  call: string
  what: string
  at: number
}

export class Saver {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface
  readonly ended: Promise<void>

  constructor(kind: string, readonly folder: string) {
    this.#child = spawn(process.execPath, [join(__dirname, 'saver.js'), kind, folder, 'serve'], { stdio: ['pipe', 'pipe', 'ignore'] })
    this.#reader = createInterface(this.#child.stdout!)
    this.#lines = this.#reader[Symbol.asyncIterator]()
    this.ended = new Promise(done => this.#child.once('exit', () => done()))
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async start(): Promise<this> {
    await this.#lines.next()
    return this
  }

  /** Saves a number, with one of the calls injected. */
  async save(number: number, injection?: Injection): Promise<Outcome> {
    this.#child.stdin!.write(`before ${number}\n`)
    await this.#lines.next()
    const log = join(this.folder, 'strace.log')
    const tracer = injection && await attached(this.#child.pid!, log, injection)
    this.#child.stdin!.write(`save ${number}\n`)
    const outcome = await this.#outcome(number)
    if (!tracer) return { injected: [], foreign: false, ...outcome }
    if (this.alive) tracer.kill('SIGINT')
    await new Promise(done => (tracer.exitCode === null && tracer.signalCode === null ? tracer.once('close', done) : done(0)))
    const injected = readFileSync(log, 'utf8').split('\n').filter(line => /\(INJECTED\)|\+\+\+ killed by SIGKILL/.test(line))
    const ours = injected.filter(line => line.includes(this.folder))
    return { injected: ours, foreign: injected.length > ours.length, ...outcome }
  }

  end(): void {
    this.#reader.close()
    this.#child.kill('SIGKILL')
  }

  /** What the process has written of it, looked for again and again: it could not tell through what is traced. */
  async #outcome(number: number): Promise<Pick<Outcome, 'ok' | 'code' | 'message'>> {
    const state = { ended: false }
    void this.ended.then(() => { state.ended = true })
    for (;;) {
      const [first, ...rest] = readFileSync(join(this.folder, 'outcome'), 'utf8').split('\n')[0].split(' ')
      if (first === String(number) && rest.length > 0) return rest[0] === 'ok' ? { ok: true } : { ok: false, code: rest[0], message: rest.slice(1).join(' ') }
      if (state.ended) return {}
      await new Promise(done => setTimeout(done, 2))
    }
  }
}

/** strace on a process and all of its threads, as soon as it is. */
async function attached(pid: number, log: string, { call, what, at }: Injection): Promise<ChildProcess> {
  const tracer = spawn('strace', ['-f', '-y', '-o', log, '-e', `trace=${call}`, '-e', `inject=${call}:${what}:when=${at}`, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] })
  for await (const line of createInterface(tracer.stderr!)) if (/attached/.test(line)) return tracer
  throw new Error('strace has not attached')
}
