import { existsSync } from 'node:fs'
import { appendFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { native, SwiftTunersError } from './errors.js'
import { type ModelInputs, nativeInputs } from './inputs.js'
import { Model } from './model.js'
import { NativeLisa, scheduleFactor } from './native/binding.js'
import type { Optimizer } from './optimizer.js'
import { TunedModel } from './swift-model.js'
import { fromStateDict, readSafetensors, Tensor, writeSafetensors } from './tensor.js'

export interface TrainerOptions {
  model: Model
  /** One epoch of batches; iterated anew for each epoch. */
  train: Iterable<ModelInputs> | AsyncIterable<ModelInputs>
  evaluate?: Iterable<ModelInputs> | AsyncIterable<ModelInputs>
  optimizer: Optimizer
  schedule?: { name: 'constant' | 'linear' | 'cosine'; warmupSteps?: number; totalSteps: number }
  /** Batches per optimizer step. Default 1. */
  gradientAccumulation?: number
  maxGradNorm?: number
  /** Steps between evaluations; there is always one at the end of an epoch when `evaluate` is set. */
  evaluateEvery?: number
  checkpointEvery?: number
  checkpointDirectory?: string
  /** Goes on from the newest checkpoint of `checkpointDirectory`, if there is one. */
  resume?: boolean
  /** One JSON object per step, appended. */
  logFile?: string
  /** Seed of dropout, noise and LISA. Default 0. */
  seed?: number
  /**
   * LISA: only so many of the model's layers train at a time, drawn anew every `stepInterval` steps; everything outside of
   * the layers trains on. The optimizer needs the parameters of all layers. Pan et al. 2024 (arXiv 2403.17919).
   */
  lisa?: { activatedLayers: number; stepInterval: number }
}

export interface TrainingStep {
  step: number
  epoch: number
  loss: number
  gradNorm: number
  learningRate: number
  tokens: number
  /** Milliseconds of this step. */
  duration: number
  evaluation?: { loss: number }
}

/** What a checkpoint says about the place in the data. */
interface Position {
  step: number
  epoch: number
  /** Batches of this epoch that are done. */
  batch: number
  drawn: number
}

/**
 * The loop most people want; it yields once per optimizer step. Aborting ends it after the running step: it rejects with
 * the signal's reason, after writing a checkpoint when `checkpointDirectory` is set.
 */
export class Trainer {
  readonly #options: TrainerOptions

  constructor(options: TrainerOptions) {
    for (const name of ['gradientAccumulation', 'evaluateEvery', 'checkpointEvery'] as const) {
      const value = options[name]
      if (value !== undefined && !(Number.isInteger(value) && value > 0)) {
        throw new SwiftTunersError('ERR_INVALID_CONFIG', `${name}: expected a positive integer, found ${value}`)
      }
    }
    if ((options.resume || options.checkpointEvery) && !options.checkpointDirectory) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', 'checkpointDirectory: needed for checkpointEvery and resume')
    }
    this.#options = options
  }

  async *run(options: { epochs?: number; signal?: AbortSignal } = {}): AsyncIterableIterator<TrainingStep> {
    const o = this.#options
    const { signal, epochs = 1 } = options
    const at: Position = { step: 0, epoch: 0, batch: 0, drawn: 0 }
    if (o.resume) Object.assign(at, await this.#restore())
    native(() => o.model.native.setSeed(o.seed ?? 0, at.drawn))
    o.model.train()
    const accumulate = o.gradientAccumulation ?? 1
    const lisa = o.lisa && native(() => new NativeLisa(o.model.native, o.lisa!.activatedLayers, o.lisa!.stepInterval, o.seed ?? 0))
    const totalSteps = o.schedule?.totalSteps ?? Infinity
    let checked = at.step > 0
    if (o.logFile) await mkdir(dirname(o.logFile), { recursive: true })

    for (; at.epoch < epochs; at.epoch++, at.batch = 0) {
      let group: ModelInputs[] = []
      let index = 0
      const finish = async (last: boolean): Promise<TrainingStep> => {
        const started = performance.now()
        const lrScale = o.schedule
          ? native(() => scheduleFactor(o.schedule!.name, at.step, o.schedule!.warmupSteps ?? 0, totalSteps))
          : 1
        o.optimizer.zeroGrad()
        // What a step trains depends on its number alone, so that a resumed run goes on as it would have.
        if (lisa) native(() => lisa.apply(at.step))
        let loss = 0
        for (const batch of group) {
          const inputs = nativeInputs(batch)
          loss += await withSignal(signal, flag => o.model.native.forwardBackward(inputs, 1 / group.length, threadId, flag)) / group.length
        }
        const gradNorm = await o.optimizer.stepWith({ lrScale, maxGradNorm: o.maxGradNorm, requireAllGradients: !checked })
        checked = true
        if (o.model instanceof TunedModel) await o.model.onStep(at.step)
        at.step += 1
        at.batch += group.length
        at.drawn = native(() => o.model.native.drawn)
        const step: TrainingStep = {
          step: at.step,
          epoch: at.epoch,
          loss,
          gradNorm,
          learningRate: o.optimizer.learningRate * lrScale,
          tokens: group.reduce((n, b) => n + tokensOf(b), 0),
          duration: performance.now() - started,
        }
        group = []
        if (o.evaluate && (last || (o.evaluateEvery && at.step % o.evaluateEvery === 0))) {
          step.evaluation = { loss: await this.evaluate(signal) }
        }
        if (o.checkpointEvery && at.step % o.checkpointEvery === 0) await this.#checkpoint(at)
        if (o.logFile) await appendFile(o.logFile, `${JSON.stringify(step)}\n`)
        return step
      }
      try {
        const skip = at.batch
        // One batch ahead, so that the last step of an epoch knows that it is the last.
        let waiting: ModelInputs | undefined
        for await (const batch of o.train) {
          if (index++ < skip) continue
          signal?.throwIfAborted()
          if (waiting) {
            group.push(waiting)
            if (group.length === accumulate) yield await finish(false)
          }
          waiting = batch
          if (at.step >= totalSteps) break
        }
        if (index === 0) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'train: the data holds no batch (an iterator can be used once only; pass an array or an iterable)')
        signal?.throwIfAborted()
        if (waiting && at.step < totalSteps) {
          group.push(waiting)
          yield await finish(true)
        }
      } catch (error) {
        o.optimizer.zeroGrad()
        if (signal?.aborted && o.checkpointDirectory && at.step > 0) await this.#checkpoint(at)
        throw error
      }
      if (at.step >= totalSteps) break
    }
    o.optimizer.zeroGrad()
  }

  /** The mean loss over the evaluation batches, weighted by their rows, without dropout. */
  async evaluate(signal?: AbortSignal): Promise<number> {
    const o = this.#options
    let sum = 0, rows = 0
    for await (const batch of o.evaluate ?? []) {
      const inputs = nativeInputs(batch)
      const n = rowsOf(batch)
      sum += n * await withSignal(signal, flag => o.model.native.evaluateLoss(inputs, threadId, flag))
      rows += n
    }
    return rows ? sum / rows : NaN
  }

  /** A folder `step-N`; its `trainer.json` is written last, so a folder without it is no checkpoint. */
  async #checkpoint(at: Position): Promise<void> {
    const { checkpointDirectory: root, model, optimizer } = this.#options
    const dir = join(root!, `step-${at.step}`)
    // What a killed process has left there, unfinished.
    const old = await readdir(dir).catch(() => [] as string[])
    const stale = old.includes('trainer.json') ? old.filter(f => /\.tmp(-\d+)?$/.test(f)) : old
    for (const name of stale) await rm(join(dir, name), { recursive: true, force: true })
    if (model instanceof TunedModel) await model.savePretrained(dir)
    else await mkdir(dir, { recursive: true })
    // Also what the optimizer trains at other steps, as LISA does.
    const names = new Set(model.parameters().map(p => p.name))
    const known = new Set(model.namedParameters().map(p => p.name))
    for (const p of optimizer.paramGroups.flatMap(g => g.params)) if (known.has(p.name)) names.add(p.name)
    const trainable = native(() => model.native.stateDict(model.prefix, [...names]))
    await writeSafetensors(join(dir, 'trainable.safetensors'), fromStateDict(trainable))
    await writeSafetensors(join(dir, 'optimizer.safetensors'), optimizer.stateDict())
    const steps = model instanceof TunedModel ? model.stepState() : {}
    if (Object.keys(steps).length > 0) await writeSafetensors(join(dir, 'steps.safetensors'), steps)
    else await rm(join(dir, 'steps.safetensors'), { force: true })
    await writeFile(join(dir, 'trainer.json.tmp'), JSON.stringify(at))
    await rename(join(dir, 'trainer.json.tmp'), join(dir, 'trainer.json'))
    for (const step of await this.#steps()) {
      if (step < at.step) await rm(join(root!, `step-${step}`), { recursive: true, force: true })
    }
  }

  async #steps(): Promise<number[]> {
    const names = await readdir(this.#options.checkpointDirectory!).catch(() => [])
    return names.map(n => Number(/^step-(\d+)$/.exec(n)?.[1] ?? -1)).filter(n => n >= 0).sort((a, b) => b - a)
  }

  async #restore(): Promise<Partial<Position>> {
    const { checkpointDirectory: root, model, optimizer } = this.#options
    for (const step of await this.#steps()) {
      const dir = join(root!, `step-${step}`)
      const text = await readFile(join(dir, 'trainer.json'), 'utf8').catch(() => undefined)
      if (text === undefined) continue
      const [weights, state] = [await readSafetensors(join(dir, 'trainable.safetensors')), await readSafetensors(join(dir, 'optimizer.safetensors'))]
      optimizer.loadStateDict(state)
      model.loadStateDict(weights, { strict: false })
      // Most adapters remember nothing.
      if (model instanceof TunedModel && existsSync(join(dir, 'steps.safetensors'))) {
        await model.loadStepState(await readSafetensors(join(dir, 'steps.safetensors')))
      }
      return JSON.parse(text) as Position
    }
    return {}
  }
}

function rowsOf(batch: ModelInputs): number {
  const first = batch.inputIds ?? batch.inputsEmbeds ?? batch.pixelValues ?? batch.sample ?? batch.input
  return first instanceof Tensor ? first.shape[0] : (first?.length ?? 1)
}

/** Tokens of a batch that are not padding. */
function tokensOf(batch: ModelInputs): number {
  const of = batch.attentionMask ?? batch.inputIds
  if (of instanceof Tensor) return batch.attentionMask ? Array.from(of.dataSync(), Number).reduce((n, v) => n + v, 0) : of.shape.reduce((a, b) => a * b, 1)
  const count = (v: unknown): number => (Array.isArray(v) ? v.reduce((n: number, x) => n + count(x), 0) : batch.attentionMask ? Number(v) : 1)
  return count(of ?? [])
}
