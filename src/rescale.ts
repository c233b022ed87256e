import { nativeAsync } from './errors.js'
import { callable, checkArgument, instance, number } from './options.js'
import { TunedModel } from './swift-model.js'

/**
 * Runs `body` while the scalings of all LoRAs of the model are multiplied: between 0 and 1 the model lies between the base and the adapter
 * (PEFT's `rescale_adapter_scale`; Wortsman et al. 2022, arXiv 2109.01903). Other calls on the model see the multiplied scalings as well.
 */
export async function rescaleAdapterScale<T>(model: TunedModel, multiplier: number, body: () => Promise<T> | T): Promise<T> {
  checkArgument('rescaleAdapterScale', 'model', model, instance(TunedModel, 'a SwiftModel or a PeftModel'))
  checkArgument('rescaleAdapterScale', 'multiplier', multiplier, number())
  checkArgument('rescaleAdapterScale', 'body', body, callable)
  const former = await nativeAsync(() => model.native.rescale(multiplier))
  try {
    return await body()
  } finally {
    await nativeAsync(() => model.native.restoreScalings(former))
  }
}
