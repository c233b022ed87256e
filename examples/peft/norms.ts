/** LN tuning (Zhao et al. 2023): the norms train, each adapter its own copies. */
import { AdamW, LNTuningConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new LNTuningConfig({ targetModules: ['input_layernorm', 'post_attention_layernorm', 'norm'] })
  const model = await Swift.prepareModel(base, config)
  return fit('LN tuning', model, train, new AdamW(model.parameters(), { lr: 2e-2 }))
}
whenRun(module, main)
