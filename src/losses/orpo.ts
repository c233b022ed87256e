import { checkOptions, number, type OptionTable } from '../options.js'
import { means, nllTerm, pairLoss, type PairLogps, type PairLoss } from './pairs.js'
import { logOneMinusExp, logSigmoid } from './terms.js'

/** How much the odds count. */
export interface ORPOLossOptions {
  /** Weight of the odds ratio beside `-log p` of the preferred answers. Default 0.1. */
  beta?: number
}

export const ORPO: OptionTable<ORPOLossOptions> = { beta: number({ above: 0 }) }

/**
 * Odds ratio preference optimisation: fine-tuning on the preferred answers, whose odds are to be higher than the others'; no reference. Needs
 * both counts of tokens and `chosenNll`. Hong et al. 2024 (arXiv 2403.07691).
 */
export function orpoLoss(logps: PairLogps, options: ORPOLossOptions = {}): PairLoss {
  const { beta = 0.1 } = checkOptions('orpoLoss', options, ORPO)
  const { c, r } = means('orpoLoss', logps)
  const logOdds = c.sub(r).sub(logOneMinusExp(c).sub(logOneMinusExp(r)))
  return pairLoss(logSigmoid(logOdds).mul(-beta), c, r, beta, nllTerm('orpoLoss', 'ORPO', 1, logps.chosenNll))
}
