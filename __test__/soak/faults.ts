/** Each system call of a save, one after another, fails, or is where the process is killed. Needs strace. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { figure, must, program, short, skip } from './program.js'
import { type Kind, KINDS, prepared } from './saves.js'
import { type Outcome, Saver } from './traced.js'

/** Without pwrite64, by which the process tells how it went. */
const CALLS = ['openat', 'write', 'fsync', 'fdatasync', 'rename', 'renameat2', 'ftruncate', 'mkdir', 'linkat', 'statx', 'getdents64', 'chmod']
const WRITING = ['write', 'fsync', 'renameat2', 'mkdir', 'linkat', 'openat']
const MOST = short ? 1 : 400

interface Counts {
  injections: number
  refused: number
  /** Refused when the new one was there already: its folder could not be flushed. */
  late: number
  saved: number
  /** Leftovers behind a save that went well. */
  leftovers: number
  kills: number
  /** After which what was there was not whole. */
  torn: number
}

class Faults {
  readonly counts: Counts = { injections: 0, refused: 0, late: 0, saved: 0, leftovers: 0, kills: 0, torn: 0 }
  #number = 0
  /** What is there. */
  #last = -1

  constructor(readonly name: string, readonly kind: Kind, readonly folder: string) {}

  get #left(): number {
    return readdirSync(join(this.folder, 'out')).filter(name => name !== 'target').length
  }

  async #saver(): Promise<Saver> {
    return new Saver(this.name, this.folder).start()
  }

  /** Saves once without faults, which takes leftovers away. */
  async whole(): Promise<void> {
    const saver = await this.#saver()
    const { ok, message } = await saver.save(++this.#number)
    saver.end()
    must(ok === true, `${this.name}: ${message}`)
    this.#last = await this.kind.check(this.folder)
    must(this.#last === this.#number && this.#left === 0, `${this.name}: ${this.#last} is there, and ${this.#left} leftovers`)
  }

  async errors(call: string, error: string): Promise<void> {
    let saver = await this.#saver()
    for (let at = 1; at <= MOST; at++) {
      if (!saver.alive) saver = await this.#saver()
      const left = this.#left
      const outcome = await saver.save(++this.#number, { call, what: `error=${error}`, at })
      if (outcome.injected.length === 0 && !outcome.foreign) {
        this.#last = this.#number
        break
      }
      await this.#judge(`${this.name}, ${call} ${at} fails with ${error}`, outcome, left)
    }
    saver.end()
  }

  async #judge(where: string, { injected, ok, code, message = '' }: Outcome, left: number): Promise<void> {
    // The number that `before` has made is there, whatever comes of the save.
    const before = this.kind.alone ? this.#number : this.#last
    try {
      this.#last = await this.kind.check(this.folder)
    } catch (error) {
      this.counts.torn += 1
      return must(false, `${where}: ${(error as Error).message}`)
    }
    if (injected.length === 0) return
    this.counts.injections += 1
    if (ok === undefined) return must(false, `${where}: the process has ended`)
    if (ok) {
      this.counts.saved += 1
      this.counts.leftovers += this.#left > left ? 1 : 0
      return must(this.#last === this.#number, `${where}: ${this.#last} is there after ${this.#number} was saved`)
    }
    this.counts.refused += 1
    if (this.#last === this.#number && this.#last !== before) this.counts.late += 1
    else must(this.#last === before, `${where}: ${this.#last} is there, which was ${before}`)
    must(code!.startsWith('ERR_') && message.includes(this.folder), `${where}: ${code} ${message}`)
    must(this.#left <= left, `${where}: ${this.#left - left} leftovers after ${code} ${message}`)
  }

  async kills(call: string): Promise<void> {
    for (let at = 1; at <= MOST; at++) {
      const saver = await this.#saver()
      const outcome = await saver.save(++this.#number, { call, what: 'signal=KILL', at })
      const survived = saver.alive && outcome.ok !== undefined
      saver.end()
      try {
        const found = await this.kind.check(this.folder)
        must([this.#last, this.#number].includes(found), `${this.name}, killed in ${call} ${at}: ${found} is there, which was ${this.#last}`)
        this.#last = found
      } catch (error) {
        this.counts.torn += 1
        must(false, `${this.name}, killed in ${call} ${at}: ${(error as Error).message}`)
      }
      if (survived) break
      this.counts.kills += 1
    }
  }
}

program(async folder => {
  if (spawnSync('strace', ['-f', '-o', '/dev/null', '-e', 'inject=chmod:error=EIO', 'true']).status !== 0) skip('strace is not there, or may not trace')
  for (const name of short ? ['swift'] : ['swift', 'peft', 'sharded', 'merge-files', 'convert']) {
    const faults = new Faults(name, KINDS[name], prepared(join(folder, name)))
    await faults.whole()
    for (const call of CALLS) await faults.errors(call, 'ENOSPC')
    if (name === 'swift' && !short) for (const error of ['EIO', 'EACCES', 'EDQUOT', 'EINTR']) for (const call of CALLS) await faults.errors(call, error)
    for (const call of WRITING) await faults.kills(call)
    await faults.whole()
    const { injections, refused, late, saved, leftovers, kills, torn } = faults.counts
    figure(name, `${injections} calls failed: ${refused} saves refused (${late} with the new one in place), ${saved} done, ${leftovers} with leftovers; ${kills} kills at a call; ${torn} torn`)
  }
})
