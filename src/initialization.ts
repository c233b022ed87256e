/** Initialisations of LoRA that take data: LoRA-GA, CorDA, EVA. */
import { withSignal } from './abort.js'
import type { PeftConfig } from './configs.js'
import { native } from './errors.js'
import { type ModelInputs, nativeInputs } from './inputs.js'
import type { Model } from './model.js'
import { NativeEva } from './native/binding.js'
import type { PeftModel } from './peft-model.js'

export interface DataOptions {
  signal?: AbortSignal
}

type Batches = Iterable<ModelInputs> | AsyncIterable<ModelInputs>

async function measure(kind: string, model: Model, config: PeftConfig, batches: Batches, options: DataOptions): Promise<void> {
  let count = 0
  for await (const batch of batches) {
    await withSignal(options.signal, flag => model.native.measure(kind, JSON.stringify(config), nativeInputs(batch), flag))
    count += 1
  }
  if (count === 0) throw new TypeError('there are no batches')
}

/**
 * Measures the gradients that `initLoraWeights: 'lora_ga'` starts with, of the loss over the batches, which need labels. The next adapter
 * of this model uses them up. As `peft.tuners.lora.loraga.preprocess_loraga`. Wang et al. 2024 (arXiv 2407.05000).
 */
export async function preprocessLoraga(model: Model, config: PeftConfig, batches: Batches, options: DataOptions = {}): Promise<void> {
  await measure('gradient', model, config, batches, options)
}

/**
 * Measures the covariances that `initLoraWeights: 'corda'` starts with. The next adapter of this model uses them up. As
 * `peft.tuners.lora.corda.preprocess_corda`. Yang et al. 2024 (arXiv 2406.05223).
 */
export async function preprocessCorda(model: Model, config: PeftConfig, batches: Batches, options: DataOptions = {}): Promise<void> {
  await measure('covariance', model, config, batches, options)
}

/**
 * Gives an adapter that was made with `initLoraWeights: 'eva'` its weights and ranks: the batches go round until the components of what
 * goes into each layer have settled. As `peft.initialize_lora_eva_weights`. Paischer et al. 2024 (arXiv 2410.07170).
 */
export async function initializeLoraEvaWeights(model: PeftModel, batches: Batches, options: DataOptions & { adapterName?: string } = {}): Promise<void> {
  const eva = native(() => new NativeEva(model.native, options.adapterName ?? 'default'))
  const step = (batch: ModelInputs) => withSignal(options.signal, flag => eva.step(nativeInputs(batch), flag))
  const seen: ModelInputs[] = []
  let settled = false
  for await (const batch of batches) {
    if (seen.length === 0) await step(batch) // looks which layers have the same input
    seen.push(batch)
    settled = await step(batch)
    if (settled) break
  }
  if (seen.length === 0) throw new TypeError('there are no batches')
  for (let i = 0; !settled; i = (i + 1) % seen.length) settled = await step(seen[i])
  await withSignal(options.signal, () => eva.finish())
}
