/** Initialisations of LoRA that take data: LoRA-GA, CorDA, EVA. */
import { withSignal } from './abort.js'
import { PeftConfig } from './configs.js'
import { native } from './errors.js'
import { type ModelInputs, nativeInputs } from './inputs.js'
import { Model } from './model.js'
import { NativeEva } from './native/binding.js'
import { checkArgument, checkOptions, instance, invalidArgument, type OptionTable, signal, text, where } from './options.js'
import { PeftModel } from './peft-model.js'
import { type Batches, givesBatches } from './trainer/source.js'

/** How data is gone through. */
export interface DataOptions {
  /** Ends it; the model stays as it was. */
  signal?: AbortSignal
}

/** The same for an adapter. */
export interface EvaOptions extends DataOptions {
  /** Default 'default'. */
  adapterName?: string
}

const DATA: OptionTable<DataOptions> = { signal }
const EVA: OptionTable<EvaOptions> = { ...DATA, adapterName: text }
const BATCHES = where('an iterable of batches', v => typeof v !== 'function' && givesBatches(v))

const none = (call: string) => invalidArgument('batches', `${call}: batches: there are none`)

async function measure(call: string, kind: string, model: Model, config: PeftConfig, batches: Batches, options: DataOptions): Promise<void> {
  checkArgument(call, 'model', model, instance(Model, 'a Model'))
  checkArgument(call, 'config', config, instance(PeftConfig, 'a PeftConfig'))
  checkArgument(call, 'batches', batches, BATCHES)
  const { signal } = checkOptions(call, options, DATA)
  let count = 0
  for await (const batch of batches) {
    await withSignal(signal, flag => model.native.measure(kind, JSON.stringify(config), nativeInputs(batch), flag))
    count += 1
  }
  if (count === 0) throw none(call)
}

/**
 * Measures the gradients that `initLoraWeights: 'lora_ga'` starts with, of the loss over the batches, which need labels. The next adapter
 * of this model uses them up. As `peft.tuners.lora.loraga.preprocess_loraga`. Wang et al. 2024 (arXiv 2407.05000).
 */
export async function preprocessLoraga(model: Model, config: PeftConfig, batches: Batches, options: DataOptions = {}): Promise<void> {
  await measure('preprocessLoraga', 'gradient', model, config, batches, options)
}

/**
 * Measures the covariances that `initLoraWeights: 'corda'` starts with. The next adapter of this model uses them up. As
 * `peft.tuners.lora.corda.preprocess_corda`. Yang et al. 2024 (arXiv 2406.05223).
 */
export async function preprocessCorda(model: Model, config: PeftConfig, batches: Batches, options: DataOptions = {}): Promise<void> {
  await measure('preprocessCorda', 'covariance', model, config, batches, options)
}

/**
 * Gives an adapter that was made with `initLoraWeights: 'eva'` its weights and ranks: the batches go round until the components of what
 * goes into each layer have settled. As `peft.initialize_lora_eva_weights`. Paischer et al. 2024 (arXiv 2410.07170).
 */
export async function initializeLoraEvaWeights(model: PeftModel, batches: Batches, options: EvaOptions = {}): Promise<void> {
  checkArgument('initializeLoraEvaWeights', 'model', model, instance(PeftModel, 'a PeftModel'))
  checkArgument('initializeLoraEvaWeights', 'batches', batches, BATCHES)
  const { adapterName = 'default', signal } = checkOptions('initializeLoraEvaWeights', options, EVA)
  const eva = native(() => new NativeEva(model.native, adapterName))
  const step = (batch: ModelInputs) => withSignal(signal, flag => eva.step(nativeInputs(batch), flag))
  const seen: ModelInputs[] = []
  let settled = false
  for await (const batch of batches) {
    if (seen.length === 0) await step(batch) // looks which layers have the same input
    seen.push(batch)
    settled = await step(batch)
    if (settled) break
  }
  if (seen.length === 0) throw none('initializeLoraEvaWeights')
  for (let i = 0; !settled; i = (i + 1) % seen.length) settled = await step(seen[i])
  await withSignal(signal, () => eva.finish())
}
