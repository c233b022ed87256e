import { REWARD, rewardLoss, type RewardLossOptions } from '../losses/reward.js'
import type { Model } from '../model.js'
import { checkOptions, invalid, only, type OptionTable, requireOptions } from '../options.js'
import { Trainer } from '../trainer.js'
import type { ComputedLoss, LossContext, TrainerOptions } from '../trainer/options.js'
import { type PairBatch, pairsIn, type PairSources, pairSources } from './pair-batches.js'
import { told } from './pair-trainer.js'
import { ROWS, RUNNING_OPTIONS, type RunningOptions, SOURCES } from './rows.js'

/** What a model of rewards is trained with. */
export interface RewardTrainerOptions extends RunningOptions, PairSources, RewardLossOptions {}

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
  const checked = checkOptions(call, options, { ...RUNNING_OPTIONS, ...ROWS, ...SOURCES, ...REWARD } as OptionTable<RewardTrainerOptions>)
  requireOptions(call, checked, 'model', 'train', 'optimizer')
  const loss = only<RewardLossOptions>(checked, REWARD)
  // The head finds the last token by the model's own pad id.
  const pad = checked.model.config.pad_token_id ?? checked.tokenizer?.padTokenId
  const computeLoss = async (model: Model, batch: PairBatch, { training, signal }: LossContext): Promise<ComputedLoss> => {
    const { margins, inputIds, attentionMask } = batch
    const { logits } = await model.forward({ inputIds, attentionMask }, { grad: training, signal })
    const pairs = pairsIn(batch)
    if (!logits || logits.shape.join() !== `${2 * pairs},1`) throw invalid('model', `${call}: model: expected one with a head of one class, which gives logits of shape [rows, 1], found ${logits ? JSON.stringify(logits.shape) : 'none'}`)
    const scores = logits.reshape(2 * pairs)
    return told(rewardLoss({ chosen: scores.narrow(0, 0, pairs), rejected: scores.narrow(0, pairs, pairs), ...(margins ? { margin: margins } : {}) }, loss))
  }
  return {
    ...only<RunningOptions>(checked, RUNNING_OPTIONS),
    ...pairSources(call, checked, typeof pad === 'number' ? pad : undefined),
    computeLoss: computeLoss as TrainerOptions['computeLoss'],
    lossItems: pairsIn,
  }
}
