/** An adapter's tensors in and out of memory, as PEFT's `get_peft_model_state_dict` and `set_peft_model_state_dict` name them. */
import { native, nativeAsync } from './errors.js'
import { checkArgument, checkOptions, instance, type OptionTable, text } from './options.js'
import { PeftModel } from './peft-model.js'
import { fromStateDict, stateDict } from './state-dict.js'
import type { Tensor } from './tensor.js'

/** Whose tensors. */
export interface AdapterStateOptions {
  /** Default 'default'. */
  adapterName?: string
}

const OPTIONS: OptionTable<AdapterStateOptions> = { adapterName: text }
const MODEL = instance(PeftModel, 'a PeftModel')

/** What a file of this adapter would hold, by its keys there. */
export function getPeftModelStateDict(model: PeftModel, options: AdapterStateOptions = {}): Record<string, Tensor> {
  checkArgument('getPeftModelStateDict', 'model', model, MODEL)
  const { adapterName = 'default' } = checkOptions('getPeftModelStateDict', options, OPTIONS)
  return native(() => fromStateDict(model.native.adapterState(adapterName)))
}

/**
 * Takes such tensors into an adapter that the model has; what was missing or surplus is the newest of `model.loadReports`. When a shape does not fit,
 * or nothing belongs to the adapter, nothing changes (ERR_CHECKPOINT_MISMATCH).
 */
export async function setPeftModelStateDict(model: PeftModel, state: Record<string, Tensor>, options: AdapterStateOptions = {}): Promise<void> {
  checkArgument('setPeftModelStateDict', 'model', model, MODEL)
  const { adapterName = 'default' } = checkOptions('setPeftModelStateDict', options, OPTIONS)
  const given = stateDict('setPeftModelStateDict', state)
  await nativeAsync(() => model.native.setAdapterState(adapterName, given))
}
