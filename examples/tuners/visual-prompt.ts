/** Visual prompt tuning (Jia et al. 2022): trained positions in front of each layer's sequence teach a frozen ViT another style. */
import { AdamW, PromptConfig, Swift } from '../../index.js'
import { fit, whenRun } from '../support/fit.js'
import { imageBatches, inkVit } from '../support/shapes.js'

export async function main(steps = 60) {
  const base = await inkVit(100)
  const config = new PromptConfig({ dim: 64, targetModules: 'vit\\.layers\\.\\d+', embeddingPos: 0, promptLength: 8 })
  const model = await Swift.prepareModel(base, { chalk: config })
  return fit('Visual prompt', model, imageBatches(steps, 'chalk', 1), new AdamW(model.parameters(), { lr: 1e-1 }))
}
whenRun(module, main)
