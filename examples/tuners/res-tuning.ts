/** Res-Tuning (Jiang et al. 2023): a bypass beside the frozen blocks of a ViT, through which no gradient enters the blocks. */
import { AdamW, ResTuningConfig, Swift } from '../../index.js'
import { fit, whenRun } from '../support/fit.js'
import { imageBatches, inkVit } from '../support/shapes.js'

export async function main(steps = 60) {
  const base = await inkVit()
  const config = new ResTuningConfig({
    dims: 64,
    rootModules: 'vit\\.layers\\.0',
    stemModules: 'vit\\.layers\\.\\d+',
    targetModules: 'vit\\.layernorm',
    targetModulesHook: 'input',
    tunerCfg: 'res_adapter',
  })
  const model = await Swift.prepareModel(base, { chalk: config })
  return fit('Res-Tuning', model, imageBatches(steps, 'chalk', 1), new AdamW(model.parameters(), { lr: 3e-3 }))
}
whenRun(module, main)
