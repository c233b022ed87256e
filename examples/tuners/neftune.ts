/** NEFTune (Jain et al. 2023): noise on the embeddings while a LoRA trains; it has no weights and is silent in evaluation. */
import { AdamW, LoRAConfig, NEFTuneConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const model = await Swift.prepareModel(base, { lora: new LoRAConfig({ r: 8, targetModules: ['q_proj', 'v_proj'] }), noise: new NEFTuneConfig({ noiseAlpha: 5 }) })
  return fit('NEFTune with LoRA', model, train, new AdamW(model.parameters(), { lr: 5e-3 }))
}
whenRun(module, main)
