import { native } from './errors.js'
import { NativeTrainingRun } from './native/binding.js'
import { evaluated } from './trainer/evaluation.js'
import { Loop } from './trainer/loop.js'
import { checkRun, checkTrainer, type RunOptions, type TrainerOptions, type TrainingResult, type TrainingStep } from './trainer/options.js'
import { OwnLoss } from './trainer/own-loss.js'
import type { Passes } from './trainer/passes.js'
import { TrainingRun } from './trainer/run.js'

/**
 * The loop most people want: it gives one value per optimizer step. Aborting ends it after the running step: it rejects with
 * the signal's reason, after writing a checkpoint when `checkpointDirectory` is set. A loss that is no number ends it before it reaches
 * the weights, with the place of the batch. Each step trains in training mode, whatever the loop's body does to the model between steps,
 * and the model is in the mode that it had when the run is over.
 */
export class Trainer {
  readonly #options: TrainerOptions

  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: TrainerOptions) {
    checkTrainer(options)
    this.#options = { ...options }
  }

  /**
   * Trains. `for await (const step of trainer.run())` sees each step, and leaving the loop ends the run; `await trainer.run()` runs to
   * the end. A model has one run at a time.
   */
  run(options: RunOptions = {}): TrainingRun {
    checkRun(options)
    return new TrainingRun(this.#run({ ...options }, this.#passes(options.signal)))
  }

  async *#run(options: RunOptions, passes: Passes): AsyncGenerator<TrainingStep, TrainingResult, void> {
    const { model } = passes
    const held = native(() => new NativeTrainingRun(model.native))
    const training = native(() => model.native.training)
    try {
      const loop = await Loop.begin(this.#options, options, passes)
      return yield* loop.steps()
    } finally {
      native(() => held.end())
      try {
        native(() => model.native.train(training))
      } catch {
        // It was disposed, and has no mode.
      }
    }
  }

  /** The loss over the evaluation's batches as of one batch of all their rows, without dropout. */
  async evaluate(signal?: AbortSignal): Promise<number> {
    return (await evaluated(this.#options, this.#passes(signal), { epoch: 0, step: 0 }, undefined)).loss
  }

  #passes(signal: AbortSignal | undefined): Passes {
    const { model, computeLoss, lossItems, seed = 0 } = this.#options
    return { model, scope: model.scope, signal, own: computeLoss && new OwnLoss(computeLoss, lossItems), seed }
  }
}
