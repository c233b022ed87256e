/** Prefix tuning (Li and Liang 2021): keys and values before those of every layer. */
import { AdamW, PrefixTuningConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new PrefixTuningConfig({ numVirtualTokens: 16 })
  const model = await Swift.prepareModel(base, config)
  return fit('Prefix tuning', model, train, new AdamW(model.parameters(), { lr: 1e-1 }))
}
whenRun(module, main)
