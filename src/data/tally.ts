import { warn } from '../errors.js'

/** Rows that were dropped in a pass; of the first pass that drops any, the user is told. */
export class Tally {
  count = 0
  #first: Error | undefined
  #told = false
  readonly #hint: string

  constructor(hint: string) {
    this.#hint = hint
  }

  /** A pass begins. */
  begin(): void {
    this.count = 0
    this.#first = undefined
  }

  /** Why the first row was dropped. */
  get reason(): string | undefined {
    return this.#first?.message
  }

  add(error: Error, rows = 1): void {
    this.count += rows
    if (rows > 0) this.#first ??= error
  }

  /** A pass has ended. */
  end(): void {
    if (this.#told || !this.#first) return
    this.#told = true
    warn(`${this.count} ${this.count === 1 ? 'row was' : 'rows were'} dropped, the first: ${this.#first.message} (${this.#hint})`)
  }
}
