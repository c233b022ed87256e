/** LoKr (Yeh et al. 2023): every chosen layer's update is a Kronecker product of two small matrices. */
import { AdamW, LoKrConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new LoKrConfig({ r: 8, alpha: 16, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] })
  const model = await Swift.prepareModel(base, config)
  return fit('LoKr', model, train, new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
