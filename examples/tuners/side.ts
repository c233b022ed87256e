/** Side-tuning (Zhang et al. 2019): a small network of its own beside a frozen ViT, the outputs blended. */
import { AdamW, SideConfig, Swift } from '../../index.js'
import { fit, whenRun } from '../support/fit.js'
import { imageBatches, inkVit } from '../support/shapes.js'

export async function main(steps = 60) {
  const base = await inkVit()
  // The empty pattern means the model itself: images go in, logits come out.
  const config = new SideConfig({ dim: 4, targetModules: '', sideModuleName: 'fcn4', sourceHiddenPos: 'pixel_values', targetHiddenPos: 'logits' })
  const model = await Swift.prepareModel(base, { chalk: config })
  return fit('Side', model, imageBatches(steps, 'chalk', 1), new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
