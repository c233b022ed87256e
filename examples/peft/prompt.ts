/** Prompt tuning (Lester et al. 2021): embeddings of words that nobody wrote, before every request. */
import { AdamW, PromptTuningConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new PromptTuningConfig({ numVirtualTokens: 16, promptTuningInit: 'SAMPLE_VOCAB' })
  const model = await Swift.prepareModel(base, config)
  return fit('Prompt tuning', model, train, new AdamW(model.parameters(), { lr: 3e-1 }))
}
whenRun(module, main)
