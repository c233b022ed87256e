/** Poly (Ponti et al. 2022): a few LoRAs are skills, and each task mixes them in its own way. Here requests are dealt out as two tasks. */
import { AdamW, PolyConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const batches = train.map(batch => ({ ...batch, taskIds: Array.from({ length: 8 }, (_, row) => row % 2) }))
  const config = new PolyConfig({ r: 4, nTasks: 2, nSkills: 4, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] })
  const model = await Swift.prepareModel(base, config)
  return fit('Poly', model, batches, new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
