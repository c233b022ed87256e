import { batches, type PackingOptions } from './data/batches.js'
import { Dataset } from './data/dataset.js'
import { encodeDataset } from './data/encode-dataset.js'
import type { EncodeDatasetOptions } from './data/encode-dataset.js'
import type { Encoded } from './data/encoded.js'
import type { ChatRow, PromptCompletionRow, TextRow, TokenRow } from './data/rows.js'
import { boolean, checkOptions, integer, isObject, only, type OptionTable, oneOf, path, requireOptions, where } from './options.js'
import { dataset, ROWS, type RowOptions, type Rows, RUNNING_OPTIONS, type RunningOptions } from './preference/rows.js'
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

const rows = where('rows', v => v !== undefined)
const OWN: OptionTable<Pick<SFTTrainerOptions, 'train' | 'evaluate' | 'loss' | 'truncation' | 'cache' | 'addEos' | 'packing' | 'groupByLength'>> = {
  train: rows, evaluate: rows, loss: oneOf('assistant', 'last', 'all'), truncation: oneOf('delete', 'left', 'right', 'split'), cache: path, addEos: boolean,
  packing: where('an object with a size', v => isObject(v) && integer({ min: 1 }).accepts((v as PackingOptions).size)), groupByLength: boolean,
}

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
  const checked = checkOptions(call, options, { ...RUNNING_OPTIONS, ...ROWS, ...OWN } as OptionTable<SFTTrainerOptions>)
  requireOptions(call, checked, 'model', 'train', 'optimizer', 'tokenizer')
  const { tokenizer, batchSize = 8, shuffle = true, packing, groupByLength = packing === undefined } = checked
  const encoding = only<EncodeDatasetOptions>(checked, { loss: rows, maxLength: rows, truncation: rows, chatTemplate: rows, templateKwargs: rows, cache: rows, addEos: rows } as unknown as OptionTable<EncodeDatasetOptions>)
  const padTokenId = tokenizer!.padTokenId ?? tokenizer!.eosTokenId ?? 0
  const of = (name: string, data: Rows<SFTRow>, training: boolean) => {
    const encoded = encodeDataset(tokenizer!, dataset(call, name, data, false) as Dataset<SFTRow>, encoding) as Dataset<Encoded>
    const ordered = training && shuffle ? encoded.shuffle() : encoded
    return packing && training ? batches(ordered, { packing, padTokenId }) : batches(ordered, { batchSize, padTokenId, ...(groupByLength && training && shuffle ? { groupByLength } : {}) })
  }
  return {
    ...only<RunningOptions>(checked, RUNNING_OPTIONS),
    train: of('train', checked.train, true),
    ...(checked.evaluate === undefined ? {} : { evaluate: of('evaluate', checked.evaluate, false) }),
  }
}
