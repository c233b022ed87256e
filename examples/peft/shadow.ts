/** Shadow (Li et al. 2026): a network of one block runs beside the frozen model, and blocks take in what sets them apart from its state. */
import { AdamW, ShadowConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new ShadowConfig({ r: 16, shadowIntermediateSize: 128, shadowDropout: 0, taskType: 'CAUSAL_LM' })
  const model = await Swift.prepareModel(base, config)
  return fit('Shadow', model, train, new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
