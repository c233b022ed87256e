/** OFT (Qiu et al. 2023): blocks of a layer's inputs are rotated, which keeps the angles between neurons. */
import { AdamW, OFTConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new OFTConfig({ oftBlockSize: 32, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] })
  const model = await Swift.prepareModel(base, config)
  return fit('OFT', model, train, new AdamW(model.parameters(), { lr: 3e-3 }))
}
whenRun(module, main)
