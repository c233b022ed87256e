/** LongLoRA (Chen et al. 2023): LoRA on longer texts, with attention in shifted groups while training, embeddings and norms trained. */
import { AdamW, LongLoRAConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

const LENGTH = 256

export async function main(steps = 40) {
  const { model: base, train } = await toolCalls(steps)
  // Many short conversations make one long text.
  const long = train.map(({ inputIds, attentionMask }) => {
    const text = inputIds.flatMap((row, i) => row.filter((_, j) => attentionMask[i][j])).slice(0, LENGTH)
    while (text.length < LENGTH) text.push(...text.slice(0, LENGTH - text.length))
    return { inputIds: [text], labels: [text] }
  })
  const model = await Swift.prepareModel(base, {
    long: new LongLoRAConfig({ r: 8, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'], modelType: 'llama', groupSizeRatio: 0.25 }),
  })
  return fit('LongLoRA', model, long, new AdamW(model.parameters(), { lr: 2e-3 }))
}
whenRun(module, main)
