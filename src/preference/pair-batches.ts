import { type EncodedPair, isEncodedPair } from '../data/encoded.js'
import type { PairRow } from '../data/rows.js'
import type { ModelInputs } from '../inputs.js'
import { only } from '../options.js'
import type { TrainerOptions } from '../trainer/options.js'
import { type Answered, answerBatch } from './answers.js'
import { type Batch, batchSources, encodedBatches, type RowOptions, ROWS, type Rows } from './rows.js'

/** A batch of pairs: the rows of the preferred answers, then those of the others in the same order. */
export type PairBatch = Batch<{
  /** How much better each preferred answer is, where rows say so. */
  margins?: number[]
}>

/** Where pairs come from, and how they become batches. */
export interface PairSources extends RowOptions {
  /** Pairs: `prompt`, `chosen` and `rejected` (and `margin`), or any form that `loadDataset` makes them of. */
  train: Rows<PairRow | EncodedPair>
  /** The same, for evaluations. */
  evaluate?: Rows<PairRow | EncodedPair>
}

/** The batch of some pairs. */
export function pairBatch(pairs: EncodedPair[], padTokenId?: number): PairBatch {
  const rows = (side: 'chosenIds' | 'rejectedIds'): Answered[] => pairs.map(pair => ({ promptIds: pair.promptIds, answerIds: pair[side] }))
  const batch: PairBatch = answerBatch([...rows('chosenIds'), ...rows('rejectedIds')], padTokenId)
  if (pairs.some(pair => pair.margin !== undefined)) batch.margins = pairs.map(pair => pair.margin ?? 0)
  return batch
}

/** How many pairs a batch has. */
export const pairsIn = (batch: ModelInputs): number => (batch.inputIds as number[][]).length / 2

/** Batches of rows of pairs, for training and for evaluations. */
export function pairSources(call: string, checked: PairSources, padTokenId: number | undefined): Pick<TrainerOptions, 'train' | 'evaluate'> {
  return batchSources(checked, (name, rows, shuffle) =>
    encodedBatches<PairRow, EncodedPair, PairBatch>(call, name, rows, { ...only<RowOptions>(checked, ROWS), shuffle }, isEncodedPair, pairs => pairBatch(pairs, padTokenId)))
}
