import { answeringMode } from '../answering-mode.js'
import { type EncodedUnpaired, isEncodedUnpaired } from '../data/encoded.js'
import type { UnpairedRow } from '../data/rows.js'
import { KTO, ktoLoss, type KTOLossOptions } from '../losses/kto.js'
import { mean } from '../mean.js'
import type { Model } from '../model.js'
import { boolean, checkOptions, invalid, only, type OptionTable, requireOptions } from '../options.js'
import { Trainer } from '../trainer.js'
import type { ComputedLoss, LossContext, TrainerOptions } from '../trainer/options.js'
import { type Answered, answerBatch } from './answers.js'
import { sequenceLogps } from './logps.js'
import { REFERENCE, type ReferenceOptions } from './pair-trainer.js'
import { referenceLogps } from './reference.js'
import { type Batch, batchSources, encodedBatches, ROWS, type RowOptions, type Rows, RUNNING_OPTIONS, type RunningOptions, SOURCES } from './rows.js'

/** What KTO is trained with: the loss's options beside those of all trainers. */
export interface KTOTrainerOptions extends RunningOptions, RowOptions, ReferenceOptions, KTOLossOptions {
  /** Conversations whose last answer is good or bad: `messages` and `label`, or any form that `loadDataset` makes them of. */
  train: Rows<UnpairedRow | EncodedUnpaired>
  /** The same, for evaluations. */
  evaluate?: Rows<UnpairedRow | EncodedUnpaired>
  /** Whether the model answers without dropout and noise while it trains, as TRL has it. Default true. */
  disableDropout?: boolean
}

type UnpairedBatch = Batch<{ rows: EncodedUnpaired[] }>

const OWN: OptionTable<Pick<KTOTrainerOptions, 'train' | 'evaluate' | 'disableDropout'>> = { ...SOURCES, disableDropout: boolean } as OptionTable<Pick<KTOTrainerOptions, 'train' | 'evaluate' | 'disableDropout'>>

/**
 * Kahneman-Tversky optimisation: good answers get likelier and bad ones less likely, against the model without its adapters. The reference point
 * is the mean over the batch of how much likelier the model finds each row's prompt answered by the row before; a batch of one row has none, and is
 * left out. Ethayarajh et al. 2024 (arXiv 2402.01306).
 */
export class KTOTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: KTOTrainerOptions) {
    super(trainerOptions(options))
  }
}

function trainerOptions(options: KTOTrainerOptions): TrainerOptions {
  const call = 'KTOTrainer'
  const checked = checkOptions(call, options, { ...RUNNING_OPTIONS, ...ROWS, ...REFERENCE, ...OWN, ...KTO })
  requireOptions(call, checked, 'model', 'train', 'optimizer')
  const [loss, rows] = [only<KTOLossOptions>(checked, KTO), only<RowOptions>(checked, ROWS)]
  const least = loss.lossType === 'apo_zero_unpaired' ? 1 : 2
  if ((rows.batchSize ?? least) < least) throw invalid('batchSize', `${call}: batchSize: a batch needs two rows, of which the reference point is made; apo_zero_unpaired needs none`)
  const pad = checked.tokenizer?.padTokenId
  const own = (all: EncodedUnpaired[]) => all.map((row): Answered => ({ promptIds: row.promptIds, answerIds: row.completionIds }))
  const sources = batchSources(checked, (name, data, shuffle) =>
    encodedBatches<UnpairedRow, EncodedUnpaired, UnpairedBatch>(call, name, data, { ...rows, shuffle }, isEncodedUnpaired, all => ({ ...answerBatch(own(all), pad), rows: all }))
      .filter(batch => batch.rows.length >= least))

  const computeLoss = async (model: Model, { rows: all, ...inputs }: UnpairedBatch, { training, signal }: LossContext): Promise<ComputedLoss> => {
    const others = own(all).map((row, i) => ({ ...row, answerIds: all.at(i - 1)!.completionIds }))
    const mismatched = least > 1 ? answerBatch(others, pad) : undefined
    const { reference = 'disabled' } = checked
    const compute = async () => {
      const logps = await sequenceLogps(model, inputs, { grad: training, signal })
      const kl = mismatched && await sequenceLogps(model, mismatched, { grad: false, signal })
      const refLogps = await referenceLogps(model, reference, inputs, signal)
      const refKl = mismatched && await referenceLogps(model, reference, mismatched, signal)
      return ktoLoss({ logps: logps.sum, refLogps: refLogps.sum, labels: all.map(row => row.label), ...(kl && refKl ? { klLogps: kl.sum, refKlLogps: refKl.sum } : {}) }, loss)
    }
    const found = checked.disableDropout === false ? await compute() : await answeringMode(model, compute)
    const rewards = Array.from(found.rewards.dataSync(), Number)
    const of = (good: boolean) => {
      const some = rewards.filter((_, i) => all[i].label === good)
      return some.length > 0 ? { [good ? 'rewardsChosen' : 'rewardsRejected']: mean(some) } : {}
    }
    return { loss: found.loss, metrics: { ...of(true), ...of(false), kl: found.kl } }
  }
  return {
    ...only<RunningOptions>(checked, RUNNING_OPTIONS),
    ...sources,
    computeLoss: computeLoss as TrainerOptions['computeLoss'],
  }
}
