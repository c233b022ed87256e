/** AdaLoRA (Zhang et al. 2023): ranks move to the layers that need them while the run goes on; the Trainer tells it of each step. */
import { AdamW, AdaLoraConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new AdaLoraConfig({ initR: 12, targetR: 4, tinit: 5, tfinal: 10, deltaT: 2, totalStep: steps, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'], taskType: 'CAUSAL_LM' })
  const model = await Swift.prepareModel(base, config)
  return fit('AdaLoRA', model, train, new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
