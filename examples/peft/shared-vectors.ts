/** VB-LoRA (Li et al. 2024): all layers build their factors from one bank of vectors. */
import { AdamW, VBLoRAConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new VBLoRAConfig({ r: 4, numVectors: 64, vectorLength: 16, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] })
  const model = await Swift.prepareModel(base, config)
  return fit('VB-LoRA', model, train, new AdamW(model.parameters(), { lr: 2e-2 }))
}
whenRun(module, main)
