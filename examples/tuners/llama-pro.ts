/** LLaMA-Pro (Wu et al. 2024): new blocks between the old ones learn the task. Switched off, the old model is back bit for bit. */
import { AdamW, LLaMAProConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const probe = { inputIds: train[0].inputIds }
  const logits = async () => (await base.forward(probe)).logits!.data()
  const before = await logits()
  const model = await Swift.prepareModel(base, { blocks: new LLaMAProConfig({ modelType: 'llama', numNewBlocks: 2 }) })
  const learned = await fit('LLaMA-Pro', model, train, new AdamW(model.parameters(), { lr: 1e-3 }))
  model.deactivateAdapter('blocks')
  const after = await logits()
  if (!before.every((v, i) => v === after[i])) throw new Error('the base has changed')
  return learned
}
whenRun(module, main)
