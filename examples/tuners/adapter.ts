/** Adapter (Houlsby et al. 2019): a bottleneck with a residual behind each MLP; the base is frozen. */
import { AdamW, AdapterConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const config = new AdapterConfig({ dim: 256, targetModules: ['mlp'], adapterLength: 32 })
  const model = await Swift.prepareModel(base, { bottleneck: config })
  return fit('Adapter', model, train, new AdamW(model.parameters(), { lr: 3e-3 }))
}
whenRun(module, main)
