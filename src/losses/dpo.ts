import { boolean, checkOptions, invalid, number, oneOf, type OptionTable } from '../options.js'
import type { Tensor } from '../tensor.js'
import { nllTerm, pairLoss, type PairLoss, type ReferredPairLogps, sides } from './pairs.js'
import { logSigmoid, orZeros, precise } from './terms.js'

/** The shapes that a loss over pairs with a reference may have. */
export type DPOLossType = 'sigmoid' | 'robust' | 'hinge' | 'ipo' | 'ipo_sum' | 'exo_pair' | 'nca_pair' | 'sppo_hard' | 'apo_zero' | 'apo_down'

/** How pairs are compared; the names are TRL's. */
export interface DPOLossOptions {
  /** How much answers may differ from the reference's: larger, less. Default 0.1. */
  beta?: number
  /**
   * `sigmoid` (DPO, 2305.18290), `robust` (2403.00409), `hinge` (2309.06657), `ipo` (2310.12036, over means of tokens; `ipo_sum` over
   * sums), `exo_pair` (2402.00856), `nca_pair` (2402.05369), `sppo_hard` (2405.00675), `apo_zero` and `apo_down` (2408.06266). Default sigmoid.
   */
  lossType?: DPOLossType
  /** How many of the preferences are taken to be wrong; for sigmoid, robust and exo_pair. Default 0, for exo_pair 0.001. */
  labelSmoothing?: number
  /** Compares without a reference. Default false. */
  referenceFree?: boolean
  /** Weight of the preferred answers' mean `-log p`, which is added (RPO, 2404.19733). Default 0. */
  rpoAlpha?: number
}

export const DPO: OptionTable<DPOLossOptions> = {
  beta: number({ above: 0 }),
  lossType: oneOf('sigmoid', 'robust', 'hinge', 'ipo', 'ipo_sum', 'exo_pair', 'nca_pair', 'sppo_hard', 'apo_zero', 'apo_down'),
  labelSmoothing: number({ min: 0, max: 0.5 }),
  referenceFree: boolean,
  rpoAlpha: number({ min: 0 }),
}

/** What each shape makes of `a` and `b`: how much likelier the answers are than the reference finds them. */
type Shape = (a: Tensor, b: Tensor, beta: number, smoothing: number) => Tensor

const SHAPES: Record<Exclude<DPOLossType, 'ipo'>, Shape> = {
  sigmoid: (a, b, beta, e) => smoothed(a.sub(b).mul(beta), e),
  robust: (a, b, beta, e) => {
    const h = a.sub(b).mul(beta)
    return logSigmoid(h).mul(-(1 - e)).add(logSigmoid(h.neg()).mul(e)).div(1 - 2 * e)
  },
  hinge: (a, b, beta) => a.sub(b).mul(-beta).add(1).relu(),
  ipo_sum: (a, b, beta) => a.sub(b).sub(1 / (2 * beta)).sqr(),
  exo_pair: (a, b, beta, e) => {
    const h = a.sub(b).mul(beta)
    const side = (x: Tensor, logp: number) => x.sigmoid().mul(logSigmoid(x).sub(logp))
    return side(h, Math.log1p(-e)).add(side(h.neg(), Math.log(e)))
  },
  nca_pair: (a, b, beta) => logSigmoid(a.mul(beta)).neg().sub(logSigmoid(a.mul(-beta)).mul(0.5)).sub(logSigmoid(b.mul(-beta)).mul(0.5)),
  sppo_hard: (a, b, beta) => a.sub(0.5 / beta).sqr().add(b.add(0.5 / beta).sqr()),
  apo_zero: (a, b, beta) => b.mul(beta).sigmoid().sub(a.mul(beta).sigmoid()).add(1),
  apo_down: (a, b, beta) => a.mul(beta).sigmoid().sub(a.sub(b).mul(beta).sigmoid()).add(1),
}

const smoothed = (h: Tensor, e: number): Tensor => {
  const loss = logSigmoid(h).mul(-(1 - e))
  return e === 0 ? loss : loss.sub(logSigmoid(h.neg()).mul(e))
}

/**
 * Direct preference optimisation and its kin: preferred answers get likelier than the others, measured against a reference. Rafailov et al.
 * 2023 (arXiv 2305.18290); the shapes are TRL's. A pure function of log-probabilities, in f64.
 */
export function dpoLoss(logps: ReferredPairLogps, options: DPOLossOptions = {}): PairLoss {
  const call = 'dpoLoss'
  const { beta = 0.1, lossType = 'sigmoid', referenceFree = false, rpoAlpha = 0, labelSmoothing = lossType === 'exo_pair' ? 1e-3 : 0 } = checkOptions(call, options, DPO)
  if (lossType === 'exo_pair' && labelSmoothing === 0) throw invalid('labelSmoothing', `${call}: labelSmoothing: exo_pair needs one above 0`)
  if (lossType === 'robust' && labelSmoothing === 0.5) throw invalid('labelSmoothing', `${call}: labelSmoothing: robust needs one below 0.5`)
  const { c, r, pairs } = sides(call, logps)
  const a = referenceFree ? c : c.sub(orZeros(call, 'refChosen', logps.refChosen, pairs))
  const b = referenceFree ? r : r.sub(orZeros(call, 'refRejected', logps.refRejected, pairs))
  const losses = lossType === 'ipo'
    ? a.div(precise(call, 'chosenTokens', logps.chosenTokens, pairs)).sub(b.div(precise(call, 'rejectedTokens', logps.rejectedTokens, pairs))).sub(1 / (2 * beta)).sqr()
    : SHAPES[lossType](a, b, beta, labelSmoothing)
  return pairLoss(losses, a, b, beta, nllTerm(call, 'rpoAlpha', rpoAlpha, logps.chosenNll))
}
