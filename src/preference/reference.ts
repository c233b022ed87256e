import { Model } from '../model.js'
import { callable, checkArgument, instance } from '../options.js'
import { TunedModel } from '../swift-model.js'

/**
 * Runs a function in which the model answers as if it had no adapters, for this call and its asynchronous children: the reference of preference
 * training, without a second copy of the weights. A model without adapters is its own reference.
 */
export async function withReference<T>(model: Model, body: () => Promise<T> | T): Promise<T> {
  checkArgument('withReference', 'model', model, instance(Model, 'a Model'))
  checkArgument('withReference', 'body', body, callable)
  return model instanceof TunedModel ? model.withActiveAdapters([], body) : body()
}
