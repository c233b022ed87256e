/** Trainers over pairs of answers, of which one is better. */
import { answeringMode } from '../answering-mode.js'
import type { PairLoss, ReferredPairLogps } from '../losses/pairs.js'
import { mean } from '../mean.js'
import { Model } from '../model.js'
import { boolean, checkOptions, only, type OptionTable, requireOptions, where } from '../options.js'
import type { Tensor } from '../tensor.js'
import type { ComputedLoss, LossContext, TrainerOptions } from '../trainer/options.js'
import { type PairBatch, pairsIn, type PairSources, pairSources } from './pair-batches.js'
import { pairLogps } from './pair-logps.js'
import type { Reference } from './reference.js'
import { type RowOptions, ROWS, RUNNING_OPTIONS, type RunningOptions, SOURCES } from './rows.js'

/** What all trainers over pairs take. */
export interface PairTrainerOptions extends RunningOptions, PairSources {
  /** Whether the model answers without dropout and noise while it trains, as TRL has it. Gradient checkpointing rests then, too. Default true. */
  disableDropout?: boolean
}

/** What is compared with. */
export interface ReferenceOptions {
  /** The model without its adapters (default), or another model, which stays as it is. */
  reference?: Reference
}

const reference = where("'disabled' or a Model", v => v === 'disabled' || v instanceof Model)
const PAIRS: OptionTable<Omit<PairTrainerOptions, keyof RunningOptions | keyof RowOptions>> = { ...SOURCES, disableDropout: boolean }
export const REFERENCE: OptionTable<ReferenceOptions> = { reference }

/** How pairs of a method become a loss. */
export interface PairMethod<L> {
  /** The trainer's name. */
  call: string
  /** The options of the loss. */
  table: OptionTable<L>
  loss: (logps: ReferredPairLogps, options: L) => PairLoss
  /** Whether it compares with a reference, and may be told with which; undefined for methods that never do. */
  refers?: (options: L) => boolean
}

/** The options of the Trainer that a method over pairs stands on. */
export function pairTrainer<L extends object>(options: PairTrainerOptions & ReferenceOptions & L, method: PairMethod<L>): TrainerOptions {
  const { call, table } = method
  const tables = { ...RUNNING_OPTIONS, ...ROWS, ...PAIRS, ...(method.refers ? REFERENCE : {}), ...table } as OptionTable<PairTrainerOptions & ReferenceOptions & L>
  const checked = checkOptions(call, options, tables)
  requireOptions(call, checked, 'model', 'train', 'optimizer')
  const loss = only<L>(checked, table)
  const computeLoss = async (model: Model, batch: PairBatch, context: LossContext): Promise<ComputedLoss> => {
    const reference = method.refers?.(loss) ? checked.reference ?? 'disabled' : undefined
    const compute = async () => method.loss(await pairLogps(model, batch, context, reference), loss)
    return told(checked.disableDropout === false ? await compute() : await answeringMode(model, compute))
  }
  return {
    ...only<RunningOptions>(checked, RUNNING_OPTIONS),
    ...pairSources(call, checked, checked.tokenizer?.padTokenId),
    computeLoss: computeLoss as TrainerOptions['computeLoss'],
    lossItems: pairsIn,
  }
}

/** The loss, with what TRL logs beside it. */
export function told({ loss, chosenRewards, rejectedRewards }: PairLoss): ComputedLoss {
  const [chosen, rejected] = [chosenRewards, rejectedRewards].map((t: Tensor) => Array.from(t.dataSync(), Number))
  return {
    loss,
    metrics: {
      rewardsChosen: mean(chosen),
      rewardsRejected: mean(rejected),
      rewardsMargin: mean(chosen.map((c, i) => c - rejected[i])),
      rewardsAccuracy: mean(chosen.map((c, i) => Number(c > rejected[i]))),
    },
  }
}
