/** Ctrl-C: once to finish what is running, twice to end at once. */

const INTERRUPTED = 130

/** Listens for Ctrl-C while it is in use. */
export class Interrupt {
  #requested = false
  readonly #listen: () => void

  /** `say` is what is told at the first one. */
  constructor(say: () => void) {
    this.#listen = () => {
      if (this.#requested) process.exit(INTERRUPTED)
      this.#requested = true
      say()
    }
    process.on('SIGINT', this.#listen)
  }

  /** Whether somebody wants to stop. */
  get requested(): boolean {
    return this.#requested
  }

  /** Ctrl-C ends the process again. */
  end(): void {
    process.off('SIGINT', this.#listen)
  }
}
