/** Batches of encoded rows, as a Trainer takes them. */
import { SwiftTunersError } from '../errors.js'
import type { ModelInputs } from '../inputs.js'
import {
  boolean, checkArgument, checkOptions, either, integer, invalid, object, type OptionTable, requireOptions, seed, shown, where,
} from '../options.js'
import { classBatch, COLLATE, collated, type CollateOptions, packedInputs, padded } from './collate.js'
import { Dataset, nameOf } from './dataset.js'
import { type Encoded, type EncodedClass, isEncoded, isEncodedClass } from './encoded.js'
import { PACK, packed, type PackOptions } from './pack.js'
import { mixed, random, shuffle } from './random.js'

/** Rows of like lengths in one batch. */
export interface GroupOptions {
  /** Rows of which those of like lengths are put together. Default 50 batches of `batchSize`, or 1000 rows. */
  window?: number
}

/** Rows put together. */
export interface PackingOptions extends PackOptions {
  /** Rows that are packed together. Default 1000. */
  buffer?: number
}

/** What batches are made of: rows whose tokens have labels, or texts with a class. */
export type BatchRow = Encoded | EncodedClass

/** How rows become batches. */
export interface BatchesOptions extends Omit<CollateOptions, 'positionIds'> {
  /** Rows of a batch. Either this, or `maxTokens`, or `packing`. */
  batchSize?: number
  /** Tokens of a batch, padding counted; a row that has more is an error. */
  maxTokens?: number
  /** Puts rows of like lengths together; the batches of a window come in random order. Default false. */
  groupByLength?: boolean | GroupOptions
  /** Batches of one packed row, without padding: positions start again for each row, and none sees another. */
  packing?: PackingOptions
  /** Of the order of grouped batches. Default: the Trainer's. */
  seed?: number
  /** Leaves out a last batch that has fewer rows. Default false. */
  dropLast?: boolean
}

const count = integer({ min: 1 })
const { positionIds: _, ...PADDING } = COLLATE
const BATCHES: OptionTable<BatchesOptions> = {
  ...PADDING, batchSize: count, maxTokens: count, seed, dropLast: boolean,
  groupByLength: { ...either(boolean, object<GroupOptions>({ window: count })), expected: 'true, false or { window }' },
  packing: object<PackingOptions>({ ...PACK, buffer: count }),
}
/** Names of transformers. */
const HINTS: Record<string, string> = { perDeviceTrainBatchSize: 'call it batchSize', padToMultiple: 'call it padToMultipleOf', dataloaderDropLast: 'call it dropLast' }

const source = where('a dataset of encoded rows', v => v instanceof Dataset || (typeof v === 'object' && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v)))

/**
 * Batches of encoded rows: a dataset of model inputs, which a Trainer takes as `train`. Padded batches have `inputIds`, `attentionMask` and
 * `labels` (and `positionIds` where padding is on the left), packed ones `positionIds` and `seqLengths`; both `lossScale` where rows
 * have weights.
 *
 * Texts with a class give `labels [rows]`, for models with a head of classes or of one number.
 *
 * A row that is none of `encodeDataset`'s is an error while batches are made (ERR_INVALID_CONFIG).
 */
export function batches(dataset: Dataset<BatchRow> | Iterable<BatchRow> | AsyncIterable<BatchRow>, options: BatchesOptions): Dataset<ModelInputs> {
  checkArgument('batches', 'dataset', dataset, source)
  const checked = checkOptions('batches', options, BATCHES, HINTS)
  consistent(checked)
  const rows = dataset instanceof Dataset ? dataset : undefined
  return new Dataset<ModelInputs>({
    name: `batches(${rows ? nameOf(rows) : 'rows'})`,
    skipped: () => rows?.skipped ?? 0,
    open: ({ epoch, seed: given }) => {
      const opened = encoded(rows ? rows.forEpoch(epoch, given) : dataset as Iterable<BatchRow>)
      if (checked.packing) return packs(opened, checked.packing)
      return paddedBatches(opened, checked, random(mixed(checked.seed ?? given, epoch, 2)))
    },
  })
}

function consistent(options: BatchesOptions): void {
  const { batchSize, maxTokens, packing, groupByLength } = options
  const ways = Object.entries({ batchSize, maxTokens, packing }).filter(([, value]) => value !== undefined).map(([name]) => name)
  if (ways.length !== 1) throw invalid(ways[1] ?? 'batchSize', `batches: ${ways.length === 0 ? 'batchSize: missing; give it, maxTokens or packing' : `${ways.join(' and ')}: give one of them`}`)
  if (!packing) return requireOptions('batches', options, 'padTokenId')
  requireOptions('batches: packing', packing, 'size')
  for (const name of ['groupByLength', 'padToMultipleOf', 'dropLast', 'paddingSide'] as const) {
    if (name === 'groupByLength' ? groupByLength : options[name]) throw invalid(name, `batches: ${name}: packed rows have neither padding nor an order of their own; leave it out`)
  }
}

async function *encoded(rows: Iterable<BatchRow> | AsyncIterable<BatchRow>): AsyncGenerator<BatchRow> {
  let index = 0
  for await (const row of rows) {
    if (!isEncoded(row) && !isEncodedClass(row)) throw new SwiftTunersError('ERR_INVALID_CONFIG', `batches: row ${index}: expected inputIds and labels of one length, found ${shown(row)}; encodeDataset makes such rows`)
    index++
    if (row.inputIds.length > 0) yield row
  }
}

async function *packs(rows: AsyncIterable<BatchRow>, { buffer = 1000, ...options }: PackingOptions): AsyncGenerator<ModelInputs> {
  let waiting: Encoded[] = []
  for await (const row of rows) {
    if (!isEncoded(row)) throw invalid('packing', 'batches: packing: texts with a class are one answer each, and cannot be packed')
    if (waiting.push(row) < buffer) continue
    for (const one of packed(waiting, options)) yield packedInputs(one)
    waiting = []
  }
  for (const one of packed(waiting, options)) yield packedInputs(one)
}

async function *paddedBatches(rows: AsyncIterable<BatchRow>, options: BatchesOptions, next: () => number): AsyncGenerator<ModelInputs> {
  const { batchSize, groupByLength, dropLast } = options
  const positionIds = options.paddingSide === 'left'
  const batch = (list: BatchRow[]) => {
    if (list.every(isEncodedClass)) return classBatch(list, options)
    if (list.every(isEncoded)) return collated(list, { ...options, positionIds })
    throw new SwiftTunersError('ERR_INVALID_CONFIG', 'batches: rows with labels of their tokens and rows with a class do not go into one batch')
  }
  if (!groupByLength) {
    const cutter = new Cutter(options)
    for await (const row of rows) {
      const full = cutter.push(row)
      if (full) yield batch(full)
    }
    const last = cutter.end()
    if (last.length > 0 && !(dropLast && last.length < (batchSize ?? 1))) yield batch(last)
    return
  }
  const given = groupByLength === true ? undefined : groupByLength.window
  const window = Math.max(given ?? (batchSize ? 50 * batchSize : 1000), batchSize ?? 1)
  let waiting: BatchRow[] = []
  for await (const row of rows) {
    if (waiting.push(row) < window) continue
    const lists = grouped(waiting, options)
    // Rows for which there was no full batch wait for the next window.
    waiting = batchSize && lists.at(-1)!.length < batchSize ? lists.pop()! : []
    for (const list of shuffle(lists, next)) yield batch(list)
  }
  const lists = grouped(waiting, options)
  if (dropLast && lists.length > 0 && lists.at(-1)!.length < (batchSize ?? 1)) lists.pop()
  for (const list of shuffle(lists, next)) yield batch(list)
}

/** Rows of like lengths together, the longest first. */
function grouped(rows: BatchRow[], options: BatchesOptions): BatchRow[][] {
  const cutter = new Cutter(options)
  const lists = rows.toSorted((a, b) => b.inputIds.length - a.inputIds.length).flatMap(row => {
    const full = cutter.push(row)
    return full ? [full] : []
  })
  const last = cutter.end()
  return last.length > 0 ? [...lists, last] : lists
}

/** Cuts rows into batches by their number or by their tokens. */
class Cutter {
  readonly #batchSize: number
  readonly #maxTokens: number
  readonly #multiple: number
  #rows: BatchRow[] = []
  #width = 0

  constructor({ batchSize = Infinity, maxTokens = Infinity, padToMultipleOf = 1 }: BatchesOptions) {
    this.#batchSize = batchSize
    this.#maxTokens = maxTokens
    this.#multiple = padToMultipleOf
  }

  /** The batch that a row completes, or before which it has no room. */
  push(row: BatchRow): BatchRow[] | undefined {
    const length = padded(row.inputIds.length, this.#multiple)
    if (length > this.#maxTokens) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `batches: maxTokens: a row has ${row.inputIds.length} tokens${length > row.inputIds.length ? ` (${length} with padding)` : ''}, and a batch at most ${this.#maxTokens}; cut rows with encodeDataset's maxLength`, { details: { option: 'maxTokens' } })
    }
    const width = Math.max(this.#width, length)
    const full = width * (this.#rows.length + 1) > this.#maxTokens ? this.end() : undefined
    this.#rows.push(row)
    this.#width = Math.max(this.#width, length)
    return full ?? (this.#rows.length === this.#batchSize ? this.end() : undefined)
  }

  end(): BatchRow[] {
    const rows = this.#rows
    this.#rows = []
    this.#width = 0
    return rows
  }
}
