/**
 * GaLore and Q-GaLore (Zhao et al. 2024, Zhang et al. 2024): all weights train, the optimizer's moments live in a low-rank space of
 * the gradients.
 */
import { createGaLoreParamGroups, GaLoreAdamW, QGaLoreAdamW } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 40) {
  const settings = { rank: 16, updateProjGap: 10, galoreScale: 0.5 }
  const { model, train } = await toolCalls(steps)
  const galore = await fit('GaLore', model, train, new GaLoreAdamW(createGaLoreParamGroups(model, settings, { lr: 3e-3 })))
  const { model: second } = await toolCalls(0)
  await fit('Q-GaLore', second, train, new QGaLoreAdamW(createGaLoreParamGroups(second, { ...settings, quantize: true }, { lr: 3e-3 })))
  return galore
}
whenRun(module, main)
