import { SwiftTunersError } from '../errors.js'
import type { ModelInputs } from '../inputs.js'
import type { Model } from '../model.js'
import { isObject, shown } from '../options.js'
import { TunedModel } from '../swift-model.js'
import { Tensor } from '../tensor.js'
import type { LossContext, TrainerOptions } from './options.js'

/** A loss of the caller's own, in the place of the model's. */
export class OwnLoss {
  readonly #compute: NonNullable<TrainerOptions['computeLoss']>
  readonly #items: (batch: ModelInputs) => number

  constructor(compute: NonNullable<TrainerOptions['computeLoss']>, items: TrainerOptions['lossItems']) {
    this.#compute = compute
    this.#items = items ?? rowsOf
  }

  /** How much a batch counts. */
  items(batch: ModelInputs): number {
    const items = this.#items(batch)
    if (typeof items !== 'number' || !(items >= 0) || items === Infinity) throw new SwiftTunersError('ERR_INVALID_CONFIG', `lossItems: expected a number that is not negative, found ${shown(items)}`)
    return items
  }

  /** The loss of a batch, with what else was measured; by the adapters of `scope`, where it is set. */
  async of(model: Model, scope: string[] | undefined, batch: ModelInputs, context: LossContext): Promise<{ loss: Tensor; metrics: Record<string, number> }> {
    const compute = () => this.#compute(model, batch, context)
    const given = scope && model instanceof TunedModel ? await model.withActiveAdapters(scope, compute) : await compute()
    const { loss, metrics = {} } = given instanceof Tensor ? { loss: given } : isObject(given) ? given : { loss: given }
    if (!(loss instanceof Tensor) || loss.shape.some(n => n !== 1)) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `computeLoss: expected a scalar tensor, or an object with one as its loss, found ${loss instanceof Tensor ? `one of shape ${JSON.stringify(loss.shape)}` : shown(loss)}`)
    }
    const odd = Object.entries(metrics).find(([, value]) => typeof value !== 'number')
    if (odd) throw new SwiftTunersError('ERR_INVALID_CONFIG', `computeLoss: metrics: ${odd[0]}: expected a number, found ${shown(odd[1])}`)
    return { loss, metrics }
  }
}

/** Rows of the first input that has some. */
function rowsOf(batch: ModelInputs): number {
  for (const value of Object.values(batch)) {
    if (value instanceof Tensor && value.shape.length > 0) return value.shape[0]
    if (Array.isArray(value) && value.length > 0) return value.length
  }
  return 1
}

/** Means of what several batches have measured, each by its share. */
export class Means {
  readonly #sums = new Map<string, number>()

  add(metrics: Record<string, number>, share: number): void {
    for (const [name, value] of Object.entries(metrics)) this.#sums.set(name, (this.#sums.get(name) ?? 0) + value * share)
  }

  /** Divided by what the shares add up to. */
  over(total: number): Record<string, number> {
    return Object.fromEntries([...this.#sums].map(([name, sum]) => [name, sum / total]))
  }
}
