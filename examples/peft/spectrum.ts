/** FourierFT (Gao et al. 2024): a few numbers of the update's spectrum, at places that a seed gives. */
import { AdamW, FourierFTConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new FourierFTConfig({ nFrequency: 1000, scaling: 100, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] })
  const model = await Swift.prepareModel(base, config)
  return fit('FourierFT', model, train, new AdamW(model.parameters(), { lr: 1e-1 }))
}
whenRun(module, main)
