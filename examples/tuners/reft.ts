/** ReFT (Wu et al. 2024): low-rank interventions on hidden states, here at the last four tokens of each prompt. */
import { AdamW, ReftConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const layers = [0, 1, 2, 3]
  const model = await Swift.prepareModel(base, { reft: new ReftConfig({ modelType: 'llama', layers, r: 8 }) })
  const located = train.map(batch => {
    // The prompt ends where the labels begin.
    const ends = batch.labels.map(row => row.findIndex(label => label !== -100))
    return { ...batch, interventionLocations: ends.map(end => layers.map(() => [end - 4, end - 3, end - 2, end - 1])) }
  })
  return fit('ReFT', model, located, new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
