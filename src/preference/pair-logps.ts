import type { ReferredPairLogps } from '../losses/pairs.js'
import type { Model } from '../model.js'
import type { Tensor } from '../tensor.js'
import type { LossContext } from '../trainer/options.js'
import { sequenceLogps, type SequenceLogps } from './logps.js'
import type { PairBatch } from './pair-batches.js'
import { type Reference, referenceLogps } from './reference.js'

/** Log-probabilities of a batch of pairs, with the reference's where there is one. */
export async function pairLogps(model: Model, batch: PairBatch, { training, signal }: LossContext, reference?: Reference): Promise<ReferredPairLogps> {
  const { margins: _, ...inputs } = batch
  const own = await sequenceLogps(model, inputs, { grad: training, signal })
  const other = reference && await referenceLogps(model, reference, inputs, signal)
  const pairs = own.tokens.length / 2
  const side = (values: Tensor, from: number) => values.narrow(0, from, pairs)
  return {
    chosen: side(own.sum, 0),
    rejected: side(own.sum, pairs),
    chosenTokens: own.tokens.slice(0, pairs),
    rejectedTokens: own.tokens.slice(pairs),
    chosenNll: chosenNll(own, pairs),
    ...(other ? { refChosen: side(other.sum, 0), refRejected: side(other.sum, pairs) } : {}),
  }
}

/** The mean of `-log p` over all tokens of the preferred answers. */
function chosenNll(logps: SequenceLogps, pairs: number): Tensor {
  const tokens = logps.tokens.slice(0, pairs).reduce((a, b) => a + b, 0)
  return logps.sum.narrow(0, 0, pairs).sum().div(-tokens)
}
