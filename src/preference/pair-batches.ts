import { type Answered, answerBatch } from './answers.js'
import type { EncodedPair } from '../data/encoded.js'
import type { Batch } from './rows.js'

/** A batch of pairs: the rows of the preferred answers, then those of the others in the same order. */
export type PairBatch = Batch<{
  /** How much better each preferred answer is, where rows say so. */
  margins?: number[]
}>

/** The batch of some pairs. */
export function pairBatch(pairs: EncodedPair[], padTokenId?: number): PairBatch {
  const rows = (side: 'chosenIds' | 'rejectedIds'): Answered[] => pairs.map(pair => ({ promptIds: pair.promptIds, answerIds: pair[side] }))
  const batch: PairBatch = answerBatch([...rows('chosenIds'), ...rows('rejectedIds')], padTokenId)
  if (pairs.some(pair => pair.margin !== undefined)) batch.margins = pairs.map(pair => pair.margin ?? 0)
  return batch
}
