import { batches, type PackingOptions } from './data/batches.js'
import { Dataset } from './data/dataset.js'
import { ENCODE_DATASET, encodeDataset, type EncodeDatasetOptions } from './data/encode-dataset.js'
import type { Encoded } from './data/encoded.js'
import type { ChatRow, PromptCompletionRow, TextRow, TokenRow } from './data/rows.js'
import { boolean, checkOptions, integer, isObject, only, type OptionTable, requireOptions, where } from './options.js'
import { batchSources, dataset, ROWS, type RowOptions, type Rows, RUNNING_OPTIONS, type RunningOptions, SOURCES } from './preference/rows.js'
import { Trainer } from './trainer.js'
import type { TrainerOptions } from './trainer/options.js'

/** Rows that are trained as they are. */
export type SFTRow = ChatRow | TextRow | PromptCompletionRow | TokenRow

/** What supervised fine-tuning takes: rows of data beside what every Trainer takes. */
export interface SFTTrainerOptions extends RunningOptions, Omit<RowOptions, 'truncation'>, Pick<EncodeDatasetOptions, 'loss' | 'truncation' | 'cache' | 'addEos'> {
  /** Conversations, texts, prompts with completions, or token ids: rows of any form that `loadDataset` reads, or the name of their file. */
  train: Rows<SFTRow>
  /** The same, for evaluations. */
  evaluate?: Rows<SFTRow>
  /** Puts rows together without padding: one row of `size` tokens a batch. */
  packing?: PackingOptions
  /** Puts rows of like lengths together. Default true, without packing. */
  groupByLength?: boolean
}

const OWN: OptionTable<Pick<SFTTrainerOptions, 'packing' | 'groupByLength'>> = {
  packing: where('an object with a size', v => isObject(v) && integer({ min: 1 }).accepts((v as PackingOptions).size)), groupByLength: boolean,
}
/** What of encoding a caller says; whether rows that cannot be encoded are errors is not asked here. */
const { strict: _, ...ENCODE } = ENCODE_DATASET

/**
 * Supervised fine-tuning of conversations or texts, from their file to batches: the answers of the assistant are trained, by the tokenizer's chat
 * template. Everything else is as in `Trainer`, and what it does step by step is `loadDataset`, `encodeDataset` and `batches`.
 */
export class SFTTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: SFTTrainerOptions) {
    super(trainerOptions(options))
  }
}

function trainerOptions(options: SFTTrainerOptions): TrainerOptions {
  const call = 'SFTTrainer'
  const checked = checkOptions(call, options, { ...RUNNING_OPTIONS, ...ROWS, ...SOURCES, ...ENCODE, ...OWN } as OptionTable<SFTTrainerOptions>)
  requireOptions(call, checked, 'model', 'train', 'optimizer', 'tokenizer')
  const { tokenizer, batchSize = 8, packing, groupByLength = packing === undefined } = checked
  const encoding = only<EncodeDatasetOptions>(checked, ENCODE as OptionTable<EncodeDatasetOptions>)
  const padTokenId = tokenizer!.padTokenId ?? tokenizer!.eosTokenId ?? 0
  const sources = batchSources(checked, (name, data, shuffle) => {
    const encoded = encodeDataset(tokenizer!, dataset(call, name, data, false) as Dataset<SFTRow>, encoding) as Dataset<Encoded>
    const ordered = shuffle ? encoded.shuffle() : encoded
    return packing && name === 'train' ? batches(ordered, { packing, padTokenId }) : batches(ordered, { batchSize, padTokenId, ...(groupByLength && shuffle ? { groupByLength } : {}) })
  })
  return { ...only<RunningOptions>(checked, RUNNING_OPTIONS), ...sources }
}
