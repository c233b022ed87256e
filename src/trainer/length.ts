import { SwiftTunersError } from '../errors.js'
import type { RunOptions, TrainerOptions, TrainingResult } from './options.js'
import { isSpent, lengthOf } from './source.js'

/** How long a run is. */
export class Length {
  readonly epochs: number
  readonly #maxSteps: number
  readonly #totalSteps: number
  /** Its steps, where they are known beforehand. */
  readonly planned: number | undefined

  constructor(o: TrainerOptions, run: RunOptions) {
    this.#maxSteps = run.maxSteps ?? Infinity
    this.#totalSteps = o.schedule?.totalSteps ?? Infinity
    this.epochs = run.epochs ?? (run.maxSteps == null ? 1 : Infinity)
    if (this.epochs > 1 && isSpent(o.train)) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', 'train: an iterator gives its batches once, and the run may have more than one epoch; give an array, an iterable, or a function of the epoch')
    }
    const batches = lengthOf(o.train)
    const whole = batches === undefined ? Infinity : Math.ceil(batches / (o.gradientAccumulation ?? 1)) * this.epochs
    const planned = Math.min(this.#maxSteps, whole)
    this.planned = Number.isFinite(planned) ? planned : undefined
  }

  /** Why there is no further step, if there is none. */
  ended(steps: number): TrainingResult['reason'] | undefined {
    if (steps >= this.#maxSteps) return 'maxSteps'
    return steps >= this.#totalSteps ? 'totalSteps' : undefined
  }
}
