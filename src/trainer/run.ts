import { SwiftTunersError } from '../errors.js'
import { checkArgument, where } from '../options.js'
import type { TrainingResult, TrainingStep } from './options.js'

/**
 * A training run: an iterator of its steps, and a promise of its end. `for await` sees each step, and leaving the loop ends the run;
 * `await` runs all that is left. Nothing runs before one of them.
 */
export class TrainingRun implements AsyncIterableIterator<TrainingStep>, PromiseLike<TrainingResult> {
  readonly #steps: AsyncGenerator<TrainingStep, TrainingResult, void>
  #result: Promise<TrainingResult> | undefined
  #last: TrainingResult | undefined

  /** @internal */
  constructor(steps: AsyncGenerator<TrainingStep, TrainingResult, void>) {
    checkArgument('TrainingRun', 'steps', steps, where('what trainer.run() makes', v => typeof (v as AsyncGenerator)?.next === 'function'))
    this.#steps = steps
  }

  /** Runs one step. */
  async next(): Promise<IteratorResult<TrainingStep, TrainingResult>> {
    const next = await this.#steps.next()
    if (next.done && next.value) this.#last = next.value
    return next
  }

  /** Ends the run where it is. */
  return(): Promise<IteratorResult<TrainingStep, TrainingResult>> {
    return this.#steps.return(undefined as never)
  }

  /** Ends the run where it is, with an error. */
  throw(error: unknown): Promise<IteratorResult<TrainingStep, TrainingResult>> {
    return this.#steps.throw(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  // It is a promise of the run's end on purpose: `await trainer.run()` would do nothing otherwise.
  // eslint-disable-next-line unicorn/no-thenable
  then<A = TrainingResult, B = never>(fulfilled?: ((result: TrainingResult) => A | PromiseLike<A>) | null, rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<A | B> {
    this.#result ??= this.#rest()
    return this.#result.then(fulfilled, rejected)
  }

  async #rest(): Promise<TrainingResult> {
    while (!(await this.next()).done);
    if (!this.#last) throw new SwiftTunersError('ERR_INVALID_STATE', 'this run was left before it came to its end')
    return this.#last
  }
}
