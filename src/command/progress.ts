/** How far a run is: a bar on a terminal, a line now and then elsewhere; on standard error. */

const BAR = 16
/** Milliseconds between two lines where there is no terminal. */
const QUIET = 10_000

/** Progress of steps whose number may be unknown. */
export class Progress {
  readonly #terminal = process.stderr.isTTY === true
  readonly #begun: number
  readonly #started = performance.now()
  readonly #total: number | undefined
  #told = -Infinity

  /** `begun` steps were done before, by the run that goes on. */
  constructor(total: number | undefined, begun = 0) {
    this.#total = total
    this.#begun = begun
  }

  /** Seconds since it began. */
  get elapsed(): number {
    return (performance.now() - this.#started) / 1000
  }

  /** Seconds of a step, from the second on. */
  pace(done: number): number {
    return this.elapsed / Math.max(1, done - this.#begun)
  }

  /** Seconds that are left, where one can tell. */
  remaining(done: number): number | undefined {
    return this.#total === undefined ? undefined : this.pace(done) * Math.max(0, this.#total - done)
  }

  update(done: number, text: string): void {
    const total = this.#total
    const left = this.remaining(done)
    const tail = `${text}${left === undefined ? '' : `  ${duration(left)} left`}`
    const count = total === undefined ? `${done}` : `${done}/${total}`
    if (this.#terminal) {
      const filled = total ? Math.min(BAR, Math.round((BAR * done) / total)) : 0
      const bar = total ? `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ` : ''
      process.stderr.write(`\r${`${bar}${count}  ${tail}`.slice(0, (process.stderr.columns || 80) - 1)}\u001b[K`)
      return
    }
    if (done !== total && done !== this.#begun + 1 && performance.now() - this.#told < QUIET) return
    this.#told = performance.now()
    process.stderr.write(`${count}  ${tail}\n`)
  }

  /** Leaves the bar's line. */
  end(): void {
    if (this.#terminal) process.stderr.write('\n')
  }
}

/** `1h 2m`, `2m 5s`, `3s`, as ms-swift's log has it. */
export function duration(seconds: number): string {
  const all = Math.round(seconds)
  const [h, m, s] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60), all % 60]
  return h > 0 ? `${h}h ${m}m ${s}s` : m > 0 ? `${m}m ${s}s` : `${s}s`
}

/** The most memory that this process has held so far, in GiB. */
export const memory = (): number => Number((process.resourceUsage().maxRSS / 2 ** 20).toFixed(3))

/** A line for people, on standard error. */
export const say = (text: string): void => void process.stderr.write(`${text}\n`)
