/** A bar on a terminal, a line now and then elsewhere. */
export class Progress {
  readonly #total: number
  readonly #started = performance.now()
  readonly #terminal = process.stdout.isTTY === true
  #printed = 0

  constructor(total: number) {
    this.#total = total
  }

  update(done: number, text: string): void {
    const seconds = (performance.now() - this.#started) / 1000
    const left = done ? (seconds / done) * (this.#total - done) : 0
    if (this.#terminal) {
      const filled = Math.round((30 * done) / this.#total)
      process.stdout.write(`\r${'█'.repeat(filled)}${'░'.repeat(30 - filled)} ${done}/${this.#total}  ${text}  ${left.toFixed(0)} s left \u001b[K`)
    } else if (done === this.#total || done - this.#printed >= this.#total / 8) {
      this.#printed = done
      console.log(`step ${done}/${this.#total}  ${text}  ${seconds.toFixed(1)} s`)
    }
  }

  end(): void {
    if (this.#terminal) process.stdout.write('\n')
  }
}
