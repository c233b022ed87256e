/** LISA (Pan et al. 2024): full training of a few layers at a time, drawn anew every few steps; gradients and moments of the others cost nothing. */
import { AdamW } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 40) {
  const { model, train } = await toolCalls(steps)
  return fit('LISA', model, train, new AdamW(model.parameters(), { lr: 1e-3 }), { lisa: { activatedLayers: 1, stepInterval: 8 } })
}
whenRun(module, main)
