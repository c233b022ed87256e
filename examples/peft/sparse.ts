/** SHiRA (Bhardwaj et al. 2024): single entries of the weights. */
import { AdamW, ShiraConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new ShiraConfig({ r: 8, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] })
  const model = await Swift.prepareModel(base, config)
  return fit('SHiRA', model, train, new AdamW(model.parameters(), { lr: 3e-3 }))
}
whenRun(module, main)
