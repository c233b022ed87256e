import type { ModelInputs } from '../inputs.js'
import { Model } from '../model.js'
import { Optimizer } from '../optimizer.js'
import { boolean, callable, checkOptions, either, instance, integer, invalid, number, object, oneOf, type OptionTable, requireOptions, signal, string, where } from '../options.js'
import type { Tensor } from '../tensor.js'
import { checkSchedule, SCHEDULE, type ScheduleOptions } from './schedule.js'
import { type BatchSource, givesBatches } from './source.js'

/** Means over the evaluation's batches, and what `metrics` gives. */
export interface Evaluation {
  /** The mean loss. */
  loss: number
  /** What `metrics` gives. */
  [metric: string]: number
}

/** One step of the optimizer. */
export interface TrainingStep {
  /** From 1. */
  step: number
  /** From 0. */
  epoch: number
  /** The mean over everything that the step's batches have labels for, with what adapters add to it. */
  loss: number
  /** The norm of all gradients before clipping. */
  gradNorm: number
  /** The first group's, after the schedule. */
  learningRate: number
  /** Tokens of the step's batches that are no padding. */
  tokens: number
  /** Milliseconds of this step. */
  duration: number
  /** What `computeLoss` has measured. */
  metrics?: Record<string, number>
  /** The evaluation after this step, where there was one. */
  evaluation?: Evaluation
}

/** A run that is about to begin. */
export interface PlannedRun {
  /** Steps that were done before, by the run that is resumed. */
  step: number
  /** All steps, those before resuming counted; absent where neither `train` nor `maxSteps` tells, or where nothing needed to count. */
  totalSteps?: number
}

/** A checkpoint that was written. */
export interface Checkpoint {
  /** The folder. */
  directory: string
  /** Of which step. */
  step: number
}

/** How a run has ended. */
export interface TrainingResult {
  /** The number of the last step, those before resuming counted. */
  steps: number
  /** Epochs that were begun. */
  epochs: number
  /** The loss of the last step; absent when the run had nothing left to do. */
  loss?: number
  /** The last evaluation. */
  evaluation?: Evaluation
  /** The best evaluation, where one was looked for. */
  best?: { step: number; metric: string; value: number }
  /** What ended it. */
  reason: 'epochs' | 'maxSteps' | 'totalSteps' | 'earlyStopping' | 'callback'
}

/** What a loss of one's own is told beside the batch. */
export interface LossContext {
  /** Whether gradients are wanted; otherwise it is an evaluation. */
  training: boolean
  /** Steps that are done. */
  step: number
  /** The trainer's. */
  seed: number
  /** The run's. */
  signal?: AbortSignal
}

/** A loss, with more to tell of the step or the evaluation; means over the batch's items. */
export interface ComputedLoss {
  /** Scalar. */
  loss: Tensor
  /** What else was measured, by name. */
  metrics?: Record<string, number>
}

/** What a callback gives to end the run after this step. */
type May = void | 'stop' | Promise<void | 'stop'>

/** What is trained on what, and what is written when. */
export interface TrainerOptions {
  /** What trains: its parameters that require gradients. */
  model: Model
  /**
   * Batches. An array or iterable is the same in each epoch; a function of epoch and seed, or a data set with `forEpoch`, may shuffle
   * and is resumed exactly.
   */
  train: BatchSource
  /** The same, for evaluations. */
  evaluate?: BatchSource
  /** Over the parameters that train. */
  optimizer: Optimizer
  /**
   * What is minimised in the place of the model's own loss: the mean over the batch's items, of which `lossItems` tells the number. The model
   * is in training mode while it trains, and not while it is evaluated. What adapters add to a loss (`adapterLoss`) is added by whoever wants it.
   */
  computeLoss?: (model: Model, batch: ModelInputs, context: LossContext) => Tensor | ComputedLoss | Promise<Tensor | ComputedLoss>
  /** How much a batch counts beside others of its step or evaluation; for `computeLoss`. Default: its rows. */
  lossItems?: (batch: ModelInputs) => number
  /** How the learning rate changes. Default: it does not. */
  schedule?: ScheduleOptions
  /** Batches per optimizer step, which has the loss and the gradients of one batch of all their rows. Default 1. */
  gradientAccumulation?: number
  /** Gradients whose joint norm is larger are scaled down to it. */
  maxGradNorm?: number
  /** Steps between evaluations; there is always one at the end of an epoch when `evaluate` is set. */
  evaluateEvery?: number
  /** More to measure at an evaluation, by name. */
  metrics?: (model: Model) => Record<string, number> | Promise<Record<string, number>>
  /** The metric that says which evaluation is best. Default `loss`. */
  bestMetric?: string
  /** Default: no for metrics whose names end in `loss`, and yes for others. */
  greaterIsBetter?: boolean
  /** Ends the run after so many evaluations in turn that are not better than the best one by more than `threshold` (default 0). */
  earlyStopping?: { patience: number; threshold?: number }
  /** Steps between checkpoints, or one at the end of each epoch; there is one at the end of the run, too. */
  checkpointEvery?: number | 'epoch'
  /** Where checkpoints are written, as `step-N`. */
  checkpointDirectory?: string
  /** What their folders are called before the number. Default `step`. */
  checkpointPrefix?: string
  /** Complete checkpoints that stay, the newest ones; the best one is kept beside them. Default 1. */
  saveTotalLimit?: number
  /** Writes a checkpoint at each evaluation that is the best so far, and keeps it. Default: as `loadBest`. */
  keepBest?: boolean
  /** Puts the best checkpoint's weights into the model at the end of the run. */
  loadBest?: boolean
  /**
   * Goes on from the newest checkpoint of `checkpointDirectory` that is whole, if there is one, as the run that wrote it would have
   * gone on. Without it a folder that holds checkpoints is refused.
   */
  resume?: boolean
  /** One JSON object per step, appended; a run that is resumed first takes away those behind its checkpoint. */
  logFile?: string
  /** Seed of dropout, noise, LISA and the order of `train`. Default 0. */
  seed?: number
  /**
   * LISA: only so many of the model's layers train at a time, drawn anew every `stepInterval` steps; everything outside of
   * the layers trains on. The optimizer needs the parameters of all layers. Pan et al. 2024 (arXiv 2403.17919).
   */
  lisa?: { activatedLayers: number; stepInterval: number }
  /** Called once, before the first step: where the run begins, and how many steps it will have, if that is known. */
  onBegin?: (run: PlannedRun) => void | Promise<void>
  /** Called after each step, before it is given; `'stop'` ends the run. */
  onStep?: (step: TrainingStep) => May
  /** Called after each evaluation; `'stop'` ends the run. */
  onEvaluate?: (evaluation: Evaluation, step: TrainingStep) => May
  /** Called when a checkpoint is whole; `'stop'` ends the run. */
  onCheckpoint?: (checkpoint: Checkpoint) => May
  /** Called when the run has come to its end; not when it was aborted or its loop was left. */
  onEnd?: (result: TrainingResult) => void | Promise<void>
}

/** How long a run is. */
export interface RunOptions {
  /** Default 1, or as many as `maxSteps` takes. */
  epochs?: number
  /** Ends the run after so many steps, those before resuming counted. */
  maxSteps?: number
  /** Ends the run after the running step: it rejects with the signal's reason. */
  signal?: AbortSignal
}

const count = integer({ min: 1 })
const batches = where('batches: an iterable, a function of the epoch, or a data set with forEpoch', givesBatches)

export const TRAINER: OptionTable<TrainerOptions> = {
  model: instance(Model, 'a Model'),
  train: batches,
  evaluate: batches,
  optimizer: instance(Optimizer, 'an Optimizer'),
  computeLoss: callable,
  lossItems: callable,
  schedule: object(SCHEDULE),
  gradientAccumulation: count,
  maxGradNorm: number({ above: 0 }),
  evaluateEvery: count,
  metrics: callable,
  bestMetric: string,
  greaterIsBetter: boolean,
  earlyStopping: object<NonNullable<TrainerOptions['earlyStopping']>>({ patience: count, threshold: number({ min: 0 }) }),
  checkpointEvery: either(count, oneOf('epoch')),
  checkpointDirectory: string,
  checkpointPrefix: where('a name without / and \\', v => typeof v === 'string' && /^[\w.-]+$/.test(v)),
  saveTotalLimit: count,
  keepBest: boolean,
  loadBest: boolean,
  resume: boolean,
  logFile: string,
  seed: integer({ min: 0 }),
  lisa: object<NonNullable<TrainerOptions['lisa']>>({ activatedLayers: count, stepInterval: count }),
  onBegin: callable,
  onStep: callable,
  onEvaluate: callable,
  onCheckpoint: callable,
  onEnd: callable,
}
const RUN: OptionTable<RunOptions> = { epochs: count, maxSteps: count, signal }

const ELSEWHERE: Record<string, string> = {
  epochs: 'it is an option of run()',
  numTrainEpochs: 'epochs are an option of run()',
  maxSteps: 'it is an option of run()',
  learningRate: 'it is the optimizer\'s',
  warmupSteps: 'it is an option of schedule',
  warmupRatio: 'it is an option of schedule',
  lrSchedulerType: 'it is the name of schedule',
  loadBestModelAtEnd: 'it is called loadBest',
  metricForBestModel: 'it is called bestMetric',
  maxNorm: 'it is called maxGradNorm',
  saveSteps: 'it is called checkpointEvery',
  evalSteps: 'it is called evaluateEvery',
  outputDir: 'it is called checkpointDirectory',
  dataset: 'it is called train',
  trainDataset: 'it is called train',
  evalDataset: 'it is called evaluate',
}

/** Which options need which others. */
const NEEDS: [keyof TrainerOptions, keyof TrainerOptions][] = [
  ['lossItems', 'computeLoss'], ['evaluateEvery', 'evaluate'], ['metrics', 'evaluate'], ['bestMetric', 'evaluate'], ['greaterIsBetter', 'bestMetric'], ['earlyStopping', 'evaluate'],
  ['loadBest', 'evaluate'], ['keepBest', 'evaluate'],
  ['loadBest', 'checkpointDirectory'], ['keepBest', 'checkpointDirectory'], ['saveTotalLimit', 'checkpointDirectory'], ['checkpointPrefix', 'checkpointDirectory'], ['checkpointEvery', 'checkpointDirectory'],
  ['resume', 'checkpointDirectory'],
]

export function checkTrainer(o: TrainerOptions): void {
  checkOptions('Trainer', o, TRAINER, ELSEWHERE)
  requireOptions('Trainer', o, 'model', 'train', 'optimizer')
  for (const [name, needed] of NEEDS) {
    const given = o[name] != null && o[name] !== false
    if (given && o[needed] == null) throw invalid(needed, `Trainer: ${needed}: needed for ${name}`)
  }
  if (o.loadBest && o.keepBest === false) throw invalid('keepBest', 'Trainer: keepBest: loadBest needs it')
  if (o.lisa) requireOptions('Trainer: lisa', o.lisa, 'activatedLayers', 'stepInterval')
  if (o.earlyStopping) requireOptions('Trainer: earlyStopping', o.earlyStopping, 'patience')
  if (o.schedule) checkSchedule({ ...o.schedule })
}

export function checkRun(o: RunOptions): void {
  checkOptions('run', o, RUN, { steps: 'it is called maxSteps', numTrainEpochs: 'it is called epochs' })
}
