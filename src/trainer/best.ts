import { SwiftTunersError } from '../errors.js'
import type { Evaluation, TrainerOptions } from './options.js'
import type { Position } from './position.js'

/** Which evaluation was best, and how many have been no better since. */
export class BestSoFar {
  readonly #metric: string
  readonly #greater: boolean
  readonly #patience: number
  readonly #threshold: number

  constructor(o: TrainerOptions, at: Position) {
    this.#metric = o.bestMetric ?? 'loss'
    this.#greater = o.greaterIsBetter ?? !this.#metric.endsWith('loss')
    this.#patience = o.earlyStopping?.patience ?? Infinity
    this.#threshold = o.earlyStopping?.threshold ?? 0
    // A run that was resumed may look for something else.
    if (at.best && at.best.metric !== this.#metric) {
      delete at.best
      at.stale = 0
    }
  }

  /** Takes an evaluation in; true when patience is at its end. */
  take(evaluation: Evaluation, at: Position): boolean {
    const value = evaluation[this.#metric]
    if (value === undefined) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `bestMetric: an evaluation has no ${this.#metric}; it has ${Object.keys(evaluation).join(', ')}`)
    }
    const gain = at.best ? (value - at.best.value) * (this.#greater ? 1 : -1) : Infinity
    at.stale = gain > this.#threshold ? 0 : at.stale + 1
    if (gain > 0) at.best = { step: at.step, metric: this.#metric, value }
    return at.stale >= this.#patience
  }
}
