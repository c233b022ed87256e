/** What trainers over rows of data have in common. */
import type { Dataset } from '../data/dataset.js'
import type { ModelInputs } from '../inputs.js'
import { boolean, integer, type OptionTable } from '../options.js'
import type { AutoTokenizer } from '../tokenizer.js'
import type { TrainerOptions } from '../trainer/options.js'

/** Rows of data: read anew for each epoch where they are a dataset or an array. */
export type Rows<T> = Dataset<T> | Iterable<T> | AsyncIterable<T>

/** The options of a Trainer that stay with one over rows. */
export type RunningOptions = Omit<TrainerOptions, 'train' | 'evaluate' | 'computeLoss' | 'lossItems'>

/** How rows become batches. */
export interface RowOptions {
  /** Makes ids of text; rows that are ids already need none. */
  tokenizer?: AutoTokenizer
  /** Rows of a batch. Default 8. */
  batchSize?: number
  /** Rows in another order in each epoch. Default true. */
  shuffle?: boolean
  /** Drops rows with more tokens. Default: the model's context, or no limit. */
  maxLength?: number
}

export const ROWS = { batchSize: integer({ min: 1 }), shuffle: boolean, maxLength: integer({ min: 1 }) } satisfies Partial<OptionTable<RowOptions>>

/** A batch that a loss of one's own knows more of than the model's inputs. */
export type Batch<T> = ModelInputs & T
