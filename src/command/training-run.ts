/** One run of training, whatever is trained: its folder, its log, its checkpoints and its end. */
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { type Checkpoint, type Model, PeftModel, Swift, SwiftModel, type Trainer, type TrainingResult } from '../../index.js'
import { invalid } from '../options.js'
import type { RunningOptions } from '../preference/rows.js'
import type { ValuesOf } from './argument.js'
import type { ExitStatus } from './commands.js'
import { Interrupt } from './interrupt.js'
import { hubOptions, load, type Loaded, modelName, named, withAdapters } from './load.js'
import { optimizerOf, scheduleOf } from './optimizer.js'
import type { SFT } from './options/commands.js'
import { writePictures } from './pictures.js'
import { print } from './print.js'
import { Progress, say } from './progress.js'
import { link, newRun, PREFIX, resumedRun, type RunFolder, writeArgs } from './run-folder.js'
import { TrainingLog } from './training-log.js'
import { tunerConfig } from './tuner.js'

/** What all commands that train take. */
export type TrainingArgs = Omit<ValuesOf<typeof SFT>, 'packing' | 'packing_length' | 'group_by_length' | 'loss_scale'>

/** What a method makes of the options that all have in common. */
export interface Method {
  /** How many rows there are to train on, where somebody has to know before. */
  rows: () => Promise<number>
  /** Reads the first of them, so that what cannot be trained is known before a folder is made. */
  look: (loaded: Loaded) => Promise<void>
  /** Whether there is something to evaluate by. */
  evaluates: boolean
  trainer: (common: RunningOptions, loaded: Loaded, batch: number) => Trainer | Promise<Trainer>
}

/** Batches of a step; ms-swift fills up to 16 rows. */
const accumulation = (args: TrainingArgs): number => args.gradient_accumulation_steps ?? Math.max(1, Math.ceil(16 / args.per_device_train_batch_size))

/** Trains, and tells what has come of it. */
export async function train(args: TrainingArgs, method: Method): Promise<ExitStatus> {
  const full = args.tuner_type === 'full'
  if (args.lisa_activated_layers > 0 && !full) throw invalid('lisa_activated_layers', '--lisa_activated_layers: needs --tuner_type full')
  const resumed = args.resume_from_checkpoint === undefined ? undefined : resumedRun(args.resume_from_checkpoint)
  const name = await modelName(args)
  const saved = { ...args, model: existsSync(name) ? resolve(name) : name, help: undefined, config: undefined, resume_from_checkpoint: undefined }
  const loaded = await load({ ...args, model: saved.model })
  await method.look(loaded)
  const model = await tuned(args, loaded, method)
  const run = resumed ?? newRun(args.output_dir, saved.model, args.add_version)
  writeArgs(run.root, saved)
  say(`${run.resumed ? 'goes on in' : 'writes to'} ${relative(process.cwd(), run.root) || '.'}`)
  if (model instanceof SwiftModel || model instanceof PeftModel) say(model.getTrainableParameters())
  return new Run(args, method, { ...loaded, model }, run, saved).run()
}

async function tuned(args: TrainingArgs, { model }: Loaded, method: Method): Promise<Model> {
  if (args.gradient_checkpointing) model.gradientCheckpointingEnable()
  if (args.adapters.length > 0) return withAdapters(model, named(args.adapters), { ...hubOptions(args), inferenceMode: false })
  const steps = async () => Math.ceil(Math.ceil(await method.rows() / args.per_device_train_batch_size) / accumulation(args)) * args.num_train_epochs
  const total = args.tuner_type !== 'adalora' ? undefined : args.max_steps > 0 ? args.max_steps : await steps()
  const config = tunerConfig(args, model.config, total)
  if (config === undefined) return model
  return Swift.prepareModel(model, config as never, { seed: args.seed })
}

class Run {
  #progress = new Progress(undefined)
  #log: TrainingLog | undefined
  #losses = { sum: 0, count: 0 }
  #interrupt: Interrupt | undefined

  constructor(readonly args: TrainingArgs, readonly method: Method, readonly loaded: Loaded, readonly folder: RunFolder, readonly saved: object) {}

  async run(): Promise<ExitStatus> {
    const { args, folder: { root } } = this
    const trainer = await this.method.trainer(this.#options(), this.loaded, args.per_device_train_batch_size)
    this.#interrupt = new Interrupt(() => say('\nstopping after this step, with a checkpoint (Ctrl-C again: at once)'))
    let result: TrainingResult
    try {
      // `--max_steps` says how long a run is, however often that goes through the rows.
      result = await trainer.run(args.max_steps > 0 ? { maxSteps: args.max_steps } : { epochs: args.num_train_epochs })
    } finally {
      this.#progress.end()
      this.#interrupt.end()
    }
    const last = join(root, `${PREFIX}-${result.steps}`)
    const best = result.best && join(root, `${PREFIX}-${result.best.step}`)
    const stopped = this.#interrupt.requested
    this.#log?.end({
      ...(this.#losses.count > 0 ? { train_loss: this.#losses.sum / this.#losses.count } : {}), 'global_step/max_steps': String(result.steps), last_model_checkpoint: last,
      ...(result.best && best && existsSync(best) ? { best_model_checkpoint: best, best_metric: result.best.value } : {}),
    })
    const pictures = writePictures(root)
    const told = {
      output_dir: root, steps: result.steps, reason: stopped ? 'interrupted' : result.reason, loss: result.loss, evaluation: result.evaluation, last_model_checkpoint: last,
      ...(best && existsSync(best) ? { best_model_checkpoint: best, best_metric: result.best } : {}), images: pictures,
    }
    print(args.json, told, value => [
      `${value.reason === 'interrupted' ? 'interrupted' : 'done'} after ${value.steps} steps${value.loss === undefined ? '' : `, loss ${value.loss.toFixed(4)}`}`,
      `last checkpoint: ${relative(process.cwd(), last)}`,
      ...(value.best_model_checkpoint ? [`best checkpoint: ${relative(process.cwd(), value.best_model_checkpoint)} (${result.best!.metric} ${result.best!.value.toFixed(4)})`] : []),
      stopped ? `go on: swift-tuners ${process.argv[2]} --resume_from_checkpoint ${relative(process.cwd(), last)}` : `try it: swift-tuners infer --${args.tuner_type === 'full' ? 'model' : 'adapters'} ${relative(process.cwd(), last)}`,
    ].join('\n'))
    return stopped ? 130 : 0
  }

  #options(): RunningOptions {
    const { args, method, loaded: { model }, folder: { root, resumed } } = this
    const full = args.tuner_type === 'full'
    const evalBy = args.eval_strategy ?? args.save_strategy
    return {
      model,
      optimizer: optimizerOf(model, args, full),
      schedule: scheduleOf(args),
      gradientAccumulation: accumulation(args),
      ...(args.max_grad_norm > 0 ? { maxGradNorm: args.max_grad_norm } : {}),
      seed: args.seed,
      ...(args.lisa_activated_layers > 0 ? { lisa: { activatedLayers: args.lisa_activated_layers, stepInterval: args.lisa_step_interval } } : {}),
      checkpointDirectory: root,
      checkpointPrefix: PREFIX,
      checkpointEvery: args.save_strategy === 'steps' ? args.save_steps : args.save_strategy === 'epoch' ? 'epoch' : Number.MAX_SAFE_INTEGER,
      saveTotalLimit: args.save_total_limit ?? Number.MAX_SAFE_INTEGER,
      ...(resumed ? { resume: true } : {}),
      ...(method.evaluates ? {
        ...(evalBy === 'steps' ? { evaluateEvery: args.eval_steps ?? args.save_steps } : {}),
        bestMetric: args.metric_for_best_model, greaterIsBetter: args.metric_for_best_model !== 'loss', keepBest: true, loadBest: args.load_best_model_at_end,
        ...(args.early_stop_interval === undefined ? {} : { earlyStopping: { patience: args.early_stop_interval } }),
      } : {}),
      onBegin: ({ step, totalSteps }) => {
        this.#progress = new Progress(totalSteps, step)
        this.#log = new TrainingLog(join(root, 'logging.jsonl'), args.logging_steps, this.#progress, totalSteps, args.max_steps > 0 ? undefined : args.num_train_epochs, step)
      },
      onStep: step => {
        this.#losses.sum += step.loss
        this.#losses.count += 1
        this.#log?.take(step)
        const evaluation = step.evaluation ? `  eval loss ${step.evaluation.loss.toFixed(4)}` : ''
        this.#progress.update(step.step, `loss ${step.loss.toFixed(4)}${evaluation}  lr ${step.learningRate.toExponential(1)}  ${this.#progress.pace(step.step).toFixed(2)} s/it`)
        return this.#interrupt?.requested ? 'stop' : undefined
      },
      onCheckpoint: async checkpoint => this.#keep(checkpoint),
    }
  }

  /** Beside what the Trainer writes: what the run was started with, links, and a whole model where all weights train. */
  async #keep(checkpoint: Checkpoint): Promise<void> {
    const { args, loaded: { model, folder: base }, folder: { root } } = this
    writeArgs(checkpoint.directory, this.saved)
    if (args.tuner_type === 'full') {
      const beside = `${checkpoint.directory}.model`
      await model.savePretrained(beside)
      for (const name of readdirSync(beside)) renameSync(join(beside, name), join(checkpoint.directory, name))
      rmSync(beside, { recursive: true })
      for (const name of readdirSync(base).filter(isCompanion)) cpSync(join(base, name), join(checkpoint.directory, name))
    }
    if (args.create_checkpoint_symlink) {
      link(root, 'last', checkpoint.directory)
      if (this.#isBest(checkpoint)) link(root, 'best', checkpoint.directory)
    }
  }

  #isBest({ directory, step }: Checkpoint): boolean {
    if (!this.method.evaluates) return false
    // The Trainer writes there which evaluation was the best one.
    const at = JSON.parse(readFileSync(join(directory, 'trainer.json'), 'utf8')) as { best?: { step: number } }
    return at.best?.step === step
  }
}

/** Files of a model's folder that are no weights: tokenizer, templates, how it generates. */
const isCompanion = (name: string): boolean => /^(tokenizer|vocab|merges|special_tokens|added_tokens|chat_template|generation_config)/.test(name)
