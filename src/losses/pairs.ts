/** What all losses over pairs take and give. */
import type { Tensor } from '../tensor.js'
import { checkGiven, type Numbers, precise } from './terms.js'

/** Log-probabilities of answers: summed over their tokens, one for each pair. */
export interface PairLogps {
  /** `log p` of the answers that are preferred. */
  chosen: Tensor
  /** `log p` of the others. */
  rejected: Tensor
  /** How many tokens the preferred answers have: for losses that take means. */
  chosenTokens?: Numbers
  /** How many the others have. */
  rejectedTokens?: Numbers
  /** The mean of `-log p` over all tokens of the preferred answers of the batch: for losses that have it as a term. */
  chosenNll?: Tensor
}

/** The same with those of the reference. */
export interface ReferredPairLogps extends PairLogps {
  /** The reference's `log p` of the preferred answers. Without it: 0. */
  refChosen?: Numbers
  /** Of the others. */
  refRejected?: Numbers
}

/** A loss over pairs. */
export interface PairLoss {
  /** The mean of `losses`, with the terms that are added to it; scalar, in f64. */
  loss: Tensor
  /** Of each pair, `[pairs]`. */
  losses: Tensor
  /** How good the loss finds the preferred answers, `[pairs]`; without gradients. */
  chosenRewards: Tensor
  /** How good it finds the others. */
  rejectedRewards: Tensor
}

/** Both sides of pairs in f64, of which there are equally many. */
export function sides(call: string, logps: PairLogps): { c: Tensor; r: Tensor; pairs: number } {
  checkGiven(call, 'logps', logps)
  const { chosen, rejected } = logps
  const c = precise(call, 'chosen', chosen)
  const pairs = c.shape[0] ?? 0
  return { c: precise(call, 'chosen', c, pairs), r: precise(call, 'rejected', rejected, pairs), pairs }
}

/** The same as means over tokens. */
export function means(call: string, logps: PairLogps): { c: Tensor; r: Tensor; pairs: number } {
  const { c, r, pairs } = sides(call, logps)
  const over = (name: 'chosenTokens' | 'rejectedTokens') => precise(call, name, logps[name], pairs)
  return { c: c.div(over('chosenTokens')), r: r.div(over('rejectedTokens')), pairs }
}

/** What a loss over pairs gives; `added` is a term of the whole batch. */
export function pairLoss(losses: Tensor, chosen: Tensor, rejected: Tensor, beta: number, added?: Tensor): PairLoss {
  const mean = losses.mean()
  return { loss: added ? mean.add(added) : mean, losses, chosenRewards: chosen.detach().mul(beta), rejectedRewards: rejected.detach().mul(beta) }
}

/** A term that only some options ask for. */
export function nllTerm(call: string, option: string, weight: number, nll: Tensor | undefined): Tensor | undefined {
  if (weight === 0) return undefined
  return precise(call, `chosenNll (which ${option} needs)`, nll).mul(weight)
}
