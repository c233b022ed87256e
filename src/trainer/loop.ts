import { native, SwiftTunersError, warn } from '../errors.js'
import { NativeLisa, type NativeSchedule } from '../native/binding.js'
import { TunedModel } from '../swift-model.js'
import { Trained } from './active.js'
import { BestSoFar } from './best.js'
import { Checkpoints } from './checkpoints.js'
import { Data } from './data.js'
import { evaluated } from './evaluation.js'
import { Length } from './length.js'
import { StepLog } from './log.js'
import type { RunOptions, TrainerOptions, TrainingResult, TrainingStep } from './options.js'
import { accumulate, type Passes, tokensOf, widthOf } from './passes.js'
import { beginning, type Position } from './position.js'
import { schedule } from './schedule.js'
import type { Located } from './source.js'

/** One run of a Trainer. */
export class Loop {
  readonly #o: TrainerOptions
  readonly #passes: Passes
  readonly #seed: number
  readonly #length: Length
  readonly #rates: NativeSchedule | undefined
  readonly #lisa: NativeLisa | undefined
  readonly #trained: Trained
  readonly #checkpoints: Checkpoints | undefined
  readonly #log: StepLog | undefined
  readonly #at: Position
  readonly #best: BestSoFar
  readonly #data: Data
  /** Whether a first step has found a gradient for every parameter. */
  #checked: boolean
  #last: TrainingStep | undefined
  #reason: TrainingResult['reason'] | undefined

  private constructor(
    o: TrainerOptions, passes: Passes, length: Length, rates: NativeSchedule | undefined, checkpoints: Checkpoints | undefined, log: StepLog | undefined, at: Position,
  ) {
    this.#o = o
    this.#passes = passes
    this.#seed = o.seed ?? 0
    this.#length = length
    this.#rates = rates
    this.#checkpoints = checkpoints
    this.#log = log
    this.#at = at
    this.#trained = new Trained(passes)
    this.#best = new BestSoFar(o, at)
    this.#data = new Data(o, at, checkpoints !== undefined)
    this.#lisa = o.lisa && native(() => new NativeLisa(passes.model.native, o.lisa!.activatedLayers, o.lisa!.stepInterval, this.#seed))
    this.#checked = at.step > 0
  }

  /** Checks everything that can be checked before the first step, and goes back to where a run that is resumed was. */
  static async begin(o: TrainerOptions, run: RunOptions, passes: Passes): Promise<Loop> {
    const { model } = passes
    const length = await Length.of(o, run)
    const rates = o.schedule && schedule(o.schedule, length.planned, o.optimizer.learningRate)
    const checkpoints = o.checkpointDirectory == null ? undefined : new Checkpoints(o.checkpointDirectory, model, o.optimizer, o.saveTotalLimit ?? 1, o.checkpointPrefix ?? 'step')
    const seed = o.seed ?? 0
    let at = beginning(seed)
    if (checkpoints && !o.resume) await checkpoints.begin()
    if (checkpoints && o.resume) at = (await checkpoints.restore(at)) ?? at
    if (at.seed !== seed) throw new SwiftTunersError('ERR_INVALID_CONFIG', `seed: ${seed}, and the run that is resumed had ${at.seed}; resume with the same`)
    const log = o.logFile == null ? undefined : await StepLog.begin(o.logFile, at.step, o.resume ?? false)
    return new Loop(o, passes, length, rates, checkpoints, log, at)
  }

  async *steps(): AsyncGenerator<TrainingStep, TrainingResult, void> {
    const at = this.#at
    const { signal } = this.#passes
    const { planned } = this.#length
    await this.#o.onBegin?.({ step: at.step, ...(planned === undefined ? {} : { totalSteps: planned }) })
    try {
      for (; at.epoch < this.#length.epochs; at.epoch++) {
        yield* this.#epoch()
        this.#reason ??= this.#length.ended(at.step) === 'maxSteps' ? 'maxSteps' : undefined
        if (this.#reason) break
        at.batch = 0
        at.data = ''
      }
    } catch (error) {
      if (signal?.aborted && at.step > 0) await this.#checkpoint()
      throw error
    } finally {
      this.#o.optimizer.zeroGrad()
    }
    return this.#end()
  }

  async *#epoch(): AsyncGenerator<TrainingStep, void, void> {
    const { signal } = this.#passes
    let group: Located[] = []
    // One batch ahead, so that the last step of an epoch knows that it is the last.
    let waiting: Located | undefined
    for await (const batch of this.#data.epoch(this.#at)) {
      signal?.throwIfAborted()
      if (waiting) group.push(waiting)
      waiting = batch
      if (group.length === (this.#o.gradientAccumulation ?? 1)) {
        yield await this.#step(group, false)
        group = []
      }
      this.#reason ??= this.#length.ended(this.#at.step)
      if (this.#reason) return
    }
    signal?.throwIfAborted()
    if (waiting) yield await this.#step([...group, waiting], true)
  }

  async #step(group: Located[], lastOfEpoch: boolean): Promise<TrainingStep> {
    const [o, at] = [this.#o, this.#at]
    const step = await this.#update(group)
    this.#last = step
    const ends = this.#length.ended(at.step) !== undefined || (lastOfEpoch && at.epoch + 1 >= this.#length.epochs)
    if (o.evaluate != null && (lastOfEpoch || ends || (o.evaluateEvery && at.step % o.evaluateEvery === 0))) {
      step.evaluation = await evaluated(o, this.#passes, at, o.metrics)
      if (this.#best.take(step.evaluation, at)) this.#reason ??= 'earlyStopping'
      if (await o.onEvaluate?.(step.evaluation, step) === 'stop') this.#reason ??= 'callback'
    }
    if (await o.onStep?.(step) === 'stop') this.#reason ??= 'callback'
    const improved = at.best?.step === at.step && (o.keepBest ?? o.loadBest)
    if (improved || (o.checkpointEvery && (due(o.checkpointEvery, at.step, lastOfEpoch) || ends || this.#reason))) {
      if (await this.#checkpoint()) this.#reason ??= 'callback'
    }
    await this.#log?.write(step)
    return step
  }

  /** One step of the optimizer. */
  async #update(group: Located[]): Promise<TrainingStep> {
    const [o, at, { model }] = [this.#o, this.#at, this.#passes]
    const started = performance.now()
    this.#trained.check()
    // What a step draws and trains depends on its number alone, so that a resumed run goes on as it would have, and so that passes
    // between two steps change nothing.
    native(() => model.native.setSeed(this.#seed, at.drawn))
    native(() => model.native.train(true))
    if (this.#lisa) native(() => this.#lisa!.apply(at.step))
    if (!this.#last) this.#warnOfLength(group)
    const lrScale = this.#rates ? native(() => this.#rates!.factor(at.step)) : 1
    o.optimizer.zeroGrad()
    const { loss, metrics } = await accumulate(this.#passes, group, at.step)
    const settings = { lrScale, maxGradNorm: o.maxGradNorm ?? undefined, requireAllGradients: !this.#checked }
    const gradNorm = await located(group, () => o.optimizer.stepWith(settings))
    this.#checked = true
    if (model instanceof TunedModel) await model.onStep(at.step)
    await this.#data.done(at, group)
    at.step += 1
    at.drawn = native(() => model.native.drawn)
    const measured = Object.keys(metrics).length > 0 ? { metrics } : {}
    return {
      step: at.step,
      epoch: at.epoch,
      loss,
      gradNorm,
      learningRate: o.optimizer.learningRate * lrScale,
      tokens: group.reduce((n, { batch }) => n + tokensOf(batch), 0),
      duration: performance.now() - started,
      ...measured,
    }
  }

  #warnOfLength(group: Located[]): void {
    const context = native(() => this.#passes.model.native.contextLength) ?? Infinity
    const wide = group.find(({ batch }) => widthOf(batch) > context)
    if (wide) warn(`${wide.where}: ${widthOf(wide.batch)} tokens are more than the model's context of ${context}`)
  }

  /** True when the caller wants to stop there. */
  async #checkpoint(): Promise<boolean> {
    const directory = await this.#checkpoints?.write(this.#at)
    return directory !== undefined && await this.#o.onCheckpoint?.({ directory, step: this.#at.step }) === 'stop'
  }

  async #end(): Promise<TrainingResult> {
    const [o, at, last, reason] = [this.#o, this.#at, this.#last, this.#reason]
    if (reason === 'totalSteps') warn(`schedule.totalSteps: the run ends after ${at.step} steps, and there is data left; maxSteps ends a run without this warning`)
    if (o.loadBest && at.best && at.best.step !== at.step) await this.#checkpoints!.load(at.best.step)
    const result: TrainingResult = { steps: at.step, epochs: Math.min(at.epoch + (reason ? 1 : 0), this.#length.epochs), reason: reason ?? 'epochs' }
    if (last) result.loss = last.loss
    if (last?.evaluation) result.evaluation = last.evaluation
    if (at.best) result.best = at.best
    await o.onEnd?.(result)
    return result
  }
}

/** Whether a checkpoint is wanted after a step, by what `checkpointEvery` says. */
const due = (every: number | 'epoch', step: number, lastOfEpoch: boolean): boolean => (every === 'epoch' ? lastOfEpoch : step % every === 0)

/** An optimizer's error, with the place in the data. */
async function located<T>(group: Located[], body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    if (!(error instanceof SwiftTunersError) || error.code !== 'ERR_INVALID_STATE') throw error
    throw new SwiftTunersError(error.code, `${group.at(-1)!.where}: ${error.message}`, { cause: error, details: error.details })
  }
}
