/** SCEdit (Jiang et al. 2023): edits the skip connections of a frozen diffusion UNet, here towards another style. */
import { AdamW, SCETuningConfig, Swift } from '../../index.js'
import { fit, whenRun } from '../support/fit.js'
import { denoising, inkUnet } from '../support/shapes.js'

export async function main(steps = 40) {
  const base = await inkUnet()
  const config = new SCETuningConfig({
    // Channels of the skip connections, in the order of the blocks that take them.
    dims: [32, 16, 16, 16],
    targetModules: ['up_blocks.0.resnets.0', 'up_blocks.0.resnets.1', 'up_blocks.1.resnets.0', 'up_blocks.1.resnets.1'],
    tunerMode: 'decoder',
  })
  const model = await Swift.prepareModel(base, { chalk: config })
  return fit('SCEdit', model, denoising(steps, 'chalk', 1), new AdamW(model.parameters(), { lr: 1e-2 }))
}
whenRun(module, main)
