import { checkOptions, number, type OptionTable } from '../options.js'
import { means, nllTerm, pairLoss, type PairLogps, type PairLoss } from './pairs.js'
import { logSigmoid } from './terms.js'

/** How far apart answers are to be. */
export interface SimPOLossOptions {
  /** Scale of the mean log-probabilities. Default 2. */
  beta?: number
  /** By how much the preferred answers are to be better. Default 1. */
  simpoGamma?: number
  /** Weight of the preferred answers' mean `-log p`, which is added. Default 0. */
  cpoAlpha?: number
}

export const SIMPO: OptionTable<SimPOLossOptions> = { beta: number({ above: 0 }), simpoGamma: number({ min: 0 }), cpoAlpha: number({ min: 0 }) }

/** Simple preference optimisation: mean log-probabilities with a margin; no reference. Meng et al. 2024 (arXiv 2405.14734). */
export function simpoLoss(logps: PairLogps, options: SimPOLossOptions = {}): PairLoss {
  const { beta = 2, simpoGamma = 1, cpoAlpha = 0 } = checkOptions('simpoLoss', options, SIMPO)
  const { c, r } = means('simpoLoss', logps)
  const losses = logSigmoid(c.sub(r).mul(beta).sub(simpoGamma)).neg()
  return pairLoss(losses, c, r, beta, nllTerm('simpoLoss', 'cpoAlpha', cpoAlpha, logps.chosenNll))
}
