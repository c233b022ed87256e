import type { ModelInputs } from '../inputs.js'
import { Model } from '../model.js'
import { callable, checkArgument, instance } from '../options.js'
import { TunedModel } from '../swift-model.js'
import { sequenceLogps, type SequenceLogps } from './logps.js'

/**
 * Runs a function in which the model answers as if it had no adapters, for this call and its asynchronous children: the reference of preference
 * training, without a second copy of the weights. A model without adapters is its own reference.
 */
export async function withReference<T>(model: Model, body: () => Promise<T> | T): Promise<T> {
  checkArgument('withReference', 'model', model, instance(Model, 'a Model'))
  checkArgument('withReference', 'body', body, callable)
  return model instanceof TunedModel ? model.withActiveAdapters([], body) : body()
}

/** What is compared with: the model without its adapters, or another model. */
export type Reference = Model | 'disabled'

/** Log-probabilities of the reference, without gradients. */
export function referenceLogps(model: Model, reference: Reference, inputs: ModelInputs, signal?: AbortSignal): Promise<SequenceLogps> {
  const quiet = { grad: false, signal }
  return reference === 'disabled' ? withReference(model, () => sequenceLogps(model, inputs, quiet)) : sequenceLogps(reference, inputs, quiet)
}
