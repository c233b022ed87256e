import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { native } from './errors.js'
import { resolveModel } from './hub.js'
import { warnOfLoads } from './loading.js'
import { checkArgument, checkOptions, instance, text } from './options.js'
import { LOAD_ADAPTER, type LoadAdapterOptions, PeftModel } from './peft-model.js'

/**
 * Puts the adapter of a directory (or hub id) in the place of one that the model has, under the name it has: PEFT's `hotswap_adapter`. The new
 * one may have another rank, other targets, another type, all of which Python refuses or cannot do without preparation. It is active, trains and
 * stands in the order as the former one did; `isTrainable` is not looked at. Running calls finish with the adapter they began with. The directory is
 * read and checked first: when anything fails, the model stays as it was.
 */
export async function hotswapAdapter(model: PeftModel, modelId: string, adapterName: string, options: LoadAdapterOptions = {}): Promise<void> {
  checkArgument('hotswapAdapter', 'model', model, instance(PeftModel, 'a PeftModel'))
  checkArgument('hotswapAdapter', 'adapterName', adapterName, text)
  const { strict = false, signal } = checkOptions('hotswapAdapter', options, LOAD_ADAPTER)
  const directory = await resolveModel('hotswapAdapter', modelId, options)
  const settings = { names: [['default', adapterName]], inferenceMode: true, strict, seed: 0 }
  const before = native(() => model.native.loadReports()).length
  await withSignal(signal, flag => model.native.hotswap(adapterName, directory, settings, threadId, flag))
  warnOfLoads(native(() => model.native.loadReports()).slice(before))
}
