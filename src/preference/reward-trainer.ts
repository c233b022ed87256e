import type { EncodedPair } from '../data/encoded.js'
import type { PairRow } from '../data/rows.js'
import { REWARD, rewardLoss, type RewardLossOptions } from '../losses/reward.js'
import type { Model } from '../model.js'
import { checkOptions, invalid, only, type OptionTable, requireOptions, where } from '../options.js'
import { Trainer } from '../trainer.js'
import type { ComputedLoss, LossContext, TrainerOptions } from '../trainer/options.js'
import { type PairBatch, pairBatch } from './pair-batches.js'
import { told } from './pair-trainer.js'
import { encodedBatches, ROWS, type RowOptions, type Rows, RUNNING_OPTIONS, type RunningOptions } from './rows.js'

/** What a model of rewards is trained with. */
export interface RewardTrainerOptions extends RunningOptions, RowOptions, RewardLossOptions {
  /** Pairs: `prompt`, `chosen` and `rejected`, and `margin` where it is known. */
  train: Rows<PairRow | EncodedPair>
  /** The same, for evaluations. */
  evaluate?: Rows<PairRow | EncodedPair>
}

const OWN: OptionTable<Pick<RewardTrainerOptions, 'train' | 'evaluate'>> = { train: where('rows of pairs', v => v !== undefined), evaluate: where('rows of pairs', v => v !== undefined) }

/**
 * A model of rewards: one with a head of one class (`…ForSequenceClassification`, `num_labels: 1`), which scores preferred answers higher. The score
 * is that of the last token.
 */
export class RewardTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: RewardTrainerOptions) {
    super(trainerOptions(options))
  }
}

function trainerOptions(options: RewardTrainerOptions): TrainerOptions {
  const call = 'RewardTrainer'
  const checked = checkOptions(call, options, { ...RUNNING_OPTIONS, ...ROWS, ...OWN, ...REWARD })
  requireOptions(call, checked, 'model', 'train', 'optimizer')
  const [loss, rows] = [only<RewardLossOptions>(checked, REWARD), only<RowOptions>(checked, ROWS)]
  // The head finds the last token by the model's own pad id.
  const pad = checked.model.config.pad_token_id ?? checked.tokenizer?.padTokenId
  const isPair = (row: EncodedPair) => [row.promptIds, row.chosenIds, row.rejectedIds].every(Array.isArray)
  const batches = (name: string, data: Rows<PairRow | EncodedPair>, more: RowOptions = {}) =>
    encodedBatches<PairRow, EncodedPair, PairBatch>(call, name, data, { ...rows, ...more }, isPair, pairs => pairBatch(pairs, typeof pad === 'number' ? pad : undefined))

  const computeLoss = async (model: Model, { margins, inputIds, attentionMask }: PairBatch, { training, signal }: LossContext): Promise<ComputedLoss> => {
    const { logits } = await model.forward({ inputIds, attentionMask }, { grad: training, signal })
    const pairs = (inputIds as number[][]).length / 2
    if (!logits || logits.shape.join() !== `${2 * pairs},1`) throw invalid('model', `${call}: model: expected one with a head of one class, which gives logits of shape [rows, 1], found ${logits ? JSON.stringify(logits.shape) : 'none'}`)
    const scores = logits.reshape(2 * pairs)
    return told(rewardLoss({ chosen: scores.narrow(0, 0, pairs), rejected: scores.narrow(0, pairs, pairs), ...(margins ? { margin: margins } : {}) }, loss))
  }
  return {
    ...only<RunningOptions>(checked, RUNNING_OPTIONS),
    train: batches('train', checked.train),
    ...(checked.evaluate === undefined ? {} : { evaluate: batches('evaluate', checked.evaluate, { shuffle: false }) }),
    computeLoss: computeLoss as TrainerOptions['computeLoss'],
    lossItems: batch => (batch.inputIds as number[][]).length / 2,
  }
}
