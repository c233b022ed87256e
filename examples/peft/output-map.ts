/** RoAd (Liao and Monz 2024): pairs of a layer's outputs are turned and scaled. */
import { AdamW, RoadConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new RoadConfig({ variant: 'road_2', groupSize: 64, targetModules: ['q_proj', 'v_proj', 'up_proj', 'down_proj'] })
  const model = await Swift.prepareModel(base, config)
  return fit('RoAd', model, train, new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
