/** An adapter's tensors in and out of memory, as PEFT's `get_peft_model_state_dict` and `set_peft_model_state_dict` name them. */
import { native, nativeAsync } from './errors.js'
import type { PeftModel } from './peft-model.js'
import { fromStateDict, stateDict, type Tensor } from './tensor.js'

/** What a file of this adapter would hold, by its keys there. */
export function getPeftModelStateDict(model: PeftModel, options: { adapterName?: string } = {}): Record<string, Tensor> {
  return native(() => fromStateDict(model.native.adapterState(options.adapterName ?? 'default')))
}

/**
 * Takes such tensors into an adapter that the model has; what was missing or surplus is the newest of `model.loadReports`. When a shape does not fit,
 * or nothing belongs to the adapter, nothing changes (ERR_CHECKPOINT_MISMATCH).
 */
export async function setPeftModelStateDict(model: PeftModel, state: Record<string, Tensor>, options: { adapterName?: string } = {}): Promise<void> {
  await nativeAsync(() => model.native.setAdapterState(options.adapterName ?? 'default', stateDict(state)))
}
