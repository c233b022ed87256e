import { checkOptions, number, type OptionTable } from '../options.js'
import type { Tensor } from '../tensor.js'
import { pairLoss, type PairLoss, sides } from './pairs.js'
import { logSigmoid, type Numbers, precise } from './terms.js'

/** What a model of rewards gives for the answers of pairs, `[pairs]`. */
export interface PairRewards {
  /** Of the answers that are preferred. */
  chosen: Tensor
  /** Of the others. */
  rejected: Tensor
  /** By how much the preferred ones are better, where that is known. */
  margin?: Numbers
}

/** What keeps rewards near 0. */
export interface RewardLossOptions {
  /** Weight of the mean of `(chosen + rejected)²` (2312.09244). Default 0. */
  centerRewardsCoefficient?: number
}

export const REWARD: OptionTable<RewardLossOptions> = { centerRewardsCoefficient: number({ min: 0 }) }

/** How likely a model of rewards finds the preferences, by Bradley and Terry: the mean of `-log σ(chosen − rejected − margin)`. */
export function rewardLoss(rewards: PairRewards, options: RewardLossOptions = {}): PairLoss {
  const { centerRewardsCoefficient: center = 0 } = checkOptions('rewardLoss', options, REWARD)
  const { c, r, pairs } = sides('rewardLoss', rewards)
  const difference = c.sub(r)
  const losses = logSigmoid(rewards.margin === undefined ? difference : difference.sub(precise('rewardLoss', 'margin', rewards.margin, pairs))).neg()
  return pairLoss(losses, c, r, 1, center === 0 ? undefined : c.add(r).sqr().mean().mul(center))
}
