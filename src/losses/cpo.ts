import { checkOptions, number, oneOf, type OptionTable } from '../options.js'
import { means, nllTerm, pairLoss, type PairLogps, type PairLoss, sides } from './pairs.js'
import { logSigmoid } from './terms.js'

/** How answers are compared. */
export interface CPOLossOptions {
  /** Scale of the difference. Default 0.1. */
  beta?: number
  /** `sigmoid`, `hinge`, or `ipo` over means of tokens. Default sigmoid. */
  lossType?: 'sigmoid' | 'hinge' | 'ipo'
  /** Weight of the preferred answers' mean `-log p`, which is added. Default 1. */
  cpoAlpha?: number
}

export const CPO: OptionTable<CPOLossOptions> = { beta: number({ above: 0 }), lossType: oneOf('sigmoid', 'hinge', 'ipo'), cpoAlpha: number({ min: 0 }) }

/** Contrastive preference optimisation: DPO without a reference, and fine-tuning on the preferred answers. Xu et al. 2024 (arXiv 2401.08417). */
export function cpoLoss(logps: PairLogps, options: CPOLossOptions = {}): PairLoss {
  const { beta = 0.1, lossType = 'sigmoid', cpoAlpha = 1 } = checkOptions('cpoLoss', options, CPO)
  const { c, r } = lossType === 'ipo' ? means('cpoLoss', logps) : sides('cpoLoss', logps)
  const h = c.sub(r)
  const losses = lossType === 'sigmoid' ? logSigmoid(h.mul(beta)).neg() : lossType === 'hinge' ? h.mul(-beta).add(1).relu() : h.sub(1 / (2 * beta)).sqr()
  return pairLoss(losses, c, r, beta, nllTerm('cpoLoss', 'cpoAlpha', cpoAlpha, logps.chosenNll))
}
