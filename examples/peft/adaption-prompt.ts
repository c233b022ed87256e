/** Adaption prompts (Zhang et al. 2023, LLaMA-Adapter): layers look at trained tokens through a gate that starts shut. */
import { AdamW, AdaptionPromptConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new AdaptionPromptConfig({ adapterLen: 16, adapterLayers: 4 })
  const model = await Swift.prepareModel(base, config)
  return fit('Adaption prompt', model, train, new AdamW(model.parameters(), { lr: 1e-1 }))
}
whenRun(module, main)
