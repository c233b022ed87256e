/** Rows of different lengths as one batch. */
import { SwiftTunersError } from '../errors.js'
import type { ModelInputs } from '../inputs.js'
import { boolean, checkArgument, checkOptions, integer, oneOf, type OptionTable, requireOptions } from '../options.js'
import { filler } from '../padding.js'
import { type Encoded, type EncodedClass, encodedRows, IGNORE } from './encoded.js'
import type { Packed } from './pack.js'

/** How rows become equally long. */
export interface CollateOptions {
  /** What rows are filled up with (`tokenizer.padTokenId`); masked, so that any id does. */
  padTokenId: number
  /** Default right. */
  paddingSide?: 'right' | 'left'
  /** Rounds the length up. Default 1. */
  padToMultipleOf?: number
  /** Whether the batch has `positionIds`, which count from 0 in each row whatever stands before it. Default true. */
  positionIds?: boolean
}

export const COLLATE: OptionTable<CollateOptions> = {
  padTokenId: integer({ min: 0, max: 2 ** 32 - 1 }), paddingSide: oneOf('right', 'left'), padToMultipleOf: integer({ min: 1, max: 2 ** 20 }), positionIds: boolean,
}

/** A batch: `inputIds`, `attentionMask`, `labels` (-100 where nothing is) and `positionIds`, all `[rows, longest]`; `lossScale` where a row has it. */
export function collate(rows: Encoded[], options: CollateOptions): ModelInputs {
  checkArgument('collate', 'rows', rows, encodedRows)
  const checked = checkOptions('collate', options, COLLATE)
  requireOptions('collate', checked, 'padTokenId')
  if (rows.length === 0) throw new SwiftTunersError('ERR_INVALID_ARGUMENT', 'collate: rows: there are none', { details: { option: 'rows' } })
  return collated(rows, checked)
}

/** Ids and mask of rows that are filled up, and what fills up more of them. */
export function filledUp(rows: { inputIds: number[] }[], { padTokenId, paddingSide = 'right', padToMultipleOf = 1 }: CollateOptions) {
  const filled = filler(padded(Math.max(...rows.map(({ inputIds }) => inputIds.length)), padToMultipleOf), paddingSide)
  return { filled, inputIds: rows.map(({ inputIds }) => filled(inputIds, padTokenId)), attentionMask: rows.map(({ inputIds }) => filled(inputIds.map(() => 1), 0)) }
}

/** A batch of texts with their classes: `labels [rows]`. */
export function classBatch(rows: EncodedClass[], options: CollateOptions): ModelInputs {
  const { inputIds, attentionMask } = filledUp(rows, options)
  return { inputIds, attentionMask, labels: rows.map(({ label }) => label) }
}

/** A batch of rows that are known to be some. */
export function collated(rows: Encoded[], options: CollateOptions): ModelInputs {
  const { positionIds = true } = options
  const { filled, inputIds, attentionMask } = filledUp(rows, options)
  const batch: ModelInputs = { inputIds, attentionMask, labels: rows.map(({ labels }) => filled(labels, IGNORE)) }
  if (positionIds) batch.positionIds = rows.map(row => filled([...row.inputIds.keys()], 0))
  if (rows.some(({ lossScale }) => lossScale)) batch.lossScale = rows.map(({ labels, lossScale }) => filled(lossScale ?? labels.map(() => 1), 0))
  return batch
}

/** The length that rows get. */
export const padded = (length: number, multiple: number): number => Math.ceil(length / multiple) * multiple

/** A batch of one packed row. */
export function packedInputs({ inputIds, labels, positionIds, seqLengths, lossScale }: Packed): ModelInputs {
  return { inputIds: [inputIds], labels: [labels], positionIds: [positionIds], seqLengths: [seqLengths], ...(lossScale ? { lossScale: [lossScale] } : {}) }
}
