/** What trainers over rows of data have in common. */
import { Dataset } from '../data/dataset.js'
import { encodeDataset } from '../data/encode-dataset.js'
import { ENCODE_ROW, type EncodeRowOptions } from '../data/encode-options.js'
import { loadDataset } from '../data/load.js'
import type { Row } from '../data/rows.js'
import type { ModelInputs } from '../inputs.js'
import { boolean, checkArgument, instance, integer, invalid, oneOf, type OptionTable, where } from '../options.js'
import { AutoTokenizer } from '../tokenizer.js'
import { TRAINER, type TrainerOptions } from '../trainer/options.js'

/** Rows of data: a dataset, what `loadDataset` takes (a file, a list of rows, …), or rows that are token ids already. */
export type Rows<T> = Dataset<T> | Iterable<T> | AsyncIterable<T> | string

/** The options of a Trainer that one over rows has, too. */
export type RunningOptions = Omit<TrainerOptions, 'train' | 'evaluate' | 'computeLoss' | 'lossItems'>

/** How rows become batches. */
export interface RowOptions extends Pick<EncodeRowOptions, 'chatTemplate' | 'templateKwargs' | 'maxLength' | 'truncation'> {
  /** Makes ids of text. Without it rows are token ids already. */
  tokenizer?: AutoTokenizer
  /** Rows of a batch. Default 8. */
  batchSize?: number
  /** Rows in another order in each epoch. Default true. */
  shuffle?: boolean
}

export const ROWS: OptionTable<RowOptions> = {
  tokenizer: instance(AutoTokenizer, 'an AutoTokenizer'),
  batchSize: integer({ min: 1 }),
  shuffle: boolean,
  maxLength: ENCODE_ROW.maxLength,
  truncation: oneOf('delete', 'left', 'right'),
  chatTemplate: ENCODE_ROW.chatTemplate,
  templateKwargs: ENCODE_ROW.templateKwargs,
}

const SOURCE = where('a dataset, a file or rows', v => v instanceof Dataset || typeof v === 'string' || (typeof v === 'object' && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v)))
/** Where rows come from; that they are some is said when they are opened. */
const given = where('rows', v => v !== undefined)
export const SOURCES: OptionTable<{ train: unknown; evaluate?: unknown }> = { train: given, evaluate: given }

/** What a Trainer checks by itself. */
const { train: _, evaluate: __, computeLoss: ___, lossItems: ____, ...RUNNING } = TRAINER
export const RUNNING_OPTIONS: OptionTable<RunningOptions> = RUNNING

/** A batch of which a loss of one's own knows more than the model takes. */
export type Batch<T> = ModelInputs & T

/** The batches of a Trainer over rows: those of an evaluation stay in their order. */
export function batchSources<T>(checked: { train: Rows<T>; evaluate?: Rows<T>; shuffle?: boolean }, batches: (name: 'train' | 'evaluate', rows: Rows<T>, shuffle: boolean) => Dataset<ModelInputs>): Pick<TrainerOptions, 'train' | 'evaluate'> {
  const { train, evaluate, shuffle = true } = checked
  return { train: batches('train', train, shuffle), ...(evaluate === undefined ? {} : { evaluate: batches('evaluate', evaluate, false) }) }
}

/** Any rows as a dataset; rows of text are read as `loadDataset` reads them, rows of ids stay as they are. */
export function dataset<T extends object>(call: string, name: string, rows: Rows<T>, ids: boolean): Dataset<T> {
  checkArgument(call, name, rows, SOURCE)
  if (rows instanceof Dataset) return rows
  return loadDataset<T>(rows as string | Iterable<object>, ids ? { format: 'raw' } : {})
}

/** Encoded rows in batches. */
export function encodedBatches<R extends Row, E extends object, B>(call: string, name: string, rows: Rows<R | E>, options: RowOptions, isEncoded: (row: unknown) => row is E, batch: (rows: E[]) => B): Dataset<B> {
  const { tokenizer, batchSize = 8, shuffle = true, maxLength, truncation, chatTemplate, templateKwargs } = options
  let encoded = dataset(call, name, rows, tokenizer === undefined) as Dataset<E>
  if (tokenizer) encoded = encodeDataset(tokenizer, encoded as unknown as Dataset<R>, { maxLength, truncation, chatTemplate, templateKwargs }) as unknown as Dataset<E>
  else {
    encoded = encoded.map(row => {
      if (!isEncoded(row)) throw invalid('tokenizer', `${call}: tokenizer: missing; ${name} holds rows that are no token ids (${Object.keys(row).slice(0, 6).join(', ')})`)
      return row
    })
  }
  if (shuffle) encoded = encoded.shuffle()
  return encoded.batch(batchSize).map(batch)
}
