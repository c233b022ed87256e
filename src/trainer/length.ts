import { SwiftTunersError } from '../errors.js'
import type { RunOptions, TrainerOptions, TrainingResult } from './options.js'
import { needsTotal } from './schedule.js'
import { type EpochSource, isSpent, lengthOf } from './source.js'

/** How long a run is. */
export class Length {
  readonly epochs: number
  readonly #maxSteps: number
  readonly #totalSteps: number
  /** Its steps, where they are known beforehand. */
  readonly planned: number | undefined

  private constructor(o: TrainerOptions, run: RunOptions, batches: number | undefined) {
    this.#maxSteps = run.maxSteps ?? Infinity
    this.#totalSteps = o.schedule?.totalSteps ?? Infinity
    this.epochs = run.epochs ?? (run.maxSteps == null ? 1 : Infinity)
    if (this.epochs > 1 && isSpent(o.train)) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', 'train: an iterator gives its batches once, and the run may have more than one epoch; give an array, an iterable, or a function of the epoch')
    }
    const whole = batches === undefined ? Infinity : Math.ceil(batches / (o.gradientAccumulation ?? 1)) * this.epochs
    const planned = Math.min(this.#maxSteps, whole)
    this.planned = Number.isFinite(planned) ? planned : undefined
  }

  /** Of a run; data that can count its batches is asked to where a schedule needs their number. */
  static async of(o: TrainerOptions, run: RunOptions): Promise<Length> {
    const known = lengthOf(o.train)
    const asked = known === undefined && run.maxSteps == null && o.schedule !== undefined && needsTotal(o.schedule)
    const { count } = o.train as { count?: unknown }
    return new Length(o, run, known ?? (asked && typeof count === 'function' ? await (o.train as Required<EpochSource>).count() : undefined))
  }

  /** Why there is no further step, if there is none. */
  ended(steps: number): TrainingResult['reason'] | undefined {
    if (steps >= this.#maxSteps) return 'maxSteps'
    return steps >= this.#totalSteps ? 'totalSteps' : undefined
  }
}
