import { threadId } from 'node:worker_threads'
import { native, SwiftTunersError } from '../errors.js'
import type { Passes } from './passes.js'

/** The adapters that a run trains: those that are active when it begins. The optimizer has no parameters of others. */
export class Trained {
  readonly #names: string[]

  constructor(readonly passes: Passes) {
    this.#names = this.#now()
  }

  #now(): string[] {
    return this.passes.scope ?? native(() => this.passes.model.native.activeAdapters(threadId))
  }

  /** Refuses to go on with others. */
  check(): void {
    const now = this.#now()
    if (now.join('\0') === this.#names.join('\0')) return
    const listed = (names: string[]) => (names.length > 0 ? names.join(', ') : 'none')
    throw new SwiftTunersError('ERR_INVALID_STATE', `the active adapters have changed during training, from ${listed(this.#names)} to ${listed(now)}; the run trains those that it began with: switch back before the next step, or call others inside of withActiveAdapters`)
  }
}
