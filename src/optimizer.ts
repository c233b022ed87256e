import { native, nativeAsync } from './errors.js'
import { optimizerText } from './inspect/optimizer.js'
import { printed } from './inspect/printed.js'
import { NativeGroups, NativeOptimizer, type NativeOptimizerOptions } from './native/binding.js'
import { boolean, checkOptions, number, type OptionTable } from './options.js'
import { groupsOf, lowRank, type ParamGroup, type Params, ratesOf } from './param-group.js'
import { fromStateDict, stateDict } from './state-dict.js'
import type { Tensor } from './tensor.js'

/** What a Trainer asks of an optimizer beside the public calls. */
export interface StepOptions {
  /** Factor of a schedule on every group's learning rate. */
  lrScale?: number
  /** Clips the joint norm of all gradients. */
  maxGradNorm?: number
  /** Refuses the step when a trainable parameter has no gradient. */
  requireAllGradients?: boolean
}

const STEP: OptionTable<StepOptions> = { lrScale: number({ min: 0 }), maxGradNorm: number({ above: 0 }), requireAllGradients: boolean }

/** What a Trainer needs of an optimizer; classes of one's own may extend it. */
export abstract class Optimizer {
  /** The parameters, in groups; their rates may be changed between steps. */
  abstract readonly paramGroups: ParamGroup[]
  /** Updates every parameter that has a gradient. */
  abstract step(): Promise<void>
  /** Drops the gradients of its parameters. */
  abstract zeroGrad(): void
  /** What it remembers from step to step, by name. */
  abstract stateDict(): Record<string, Tensor>
  /** Takes what `stateDict()` gave. */
  abstract loadStateDict(state: Record<string, Tensor>): void
  /** A step with clipping and a schedule's factor; resolves to the norm of all gradients before clipping. */
  abstract stepWith(options: StepOptions): Promise<number>
  /** The learning rate of the first group, before a schedule. */
  abstract readonly learningRate: number
}

/** What all optimizers of the core share. */
export abstract class NativeBacked extends Optimizer {
  readonly paramGroups: ParamGroup[]
  readonly #kind: string
  readonly #native: NativeOptimizer
  readonly #lr: number

  /** @internal */
  protected constructor(kind: string, params: Params, options: NativeOptimizerOptions, pairs?: NativeGroups) {
    super()
    this.#kind = kind
    this.paramGroups = groupsOf(kind, params)
    const groups = pairs ?? new NativeGroups()
    for (const group of this.paramGroups) {
      native(() => groups.addGroup(lowRank(group)))
      for (const p of group.params) groups.add(p.native)
    }
    this.#lr = options.lr
    this.#native = native(() => new NativeOptimizer(kind, groups, options))
    this.#configure()
  }

  #configure(): void {
    const rates = ratesOf(this.#kind, this.paramGroups)
    native(() => this.#native.configure(rates))
  }

  /** The learning rate of the first group, before a schedule. */
  get learningRate(): number {
    return this.paramGroups[0]?.lr ?? this.#lr
  }

  /** Updates every parameter that has a gradient; the others are skipped, also by weight decay. */
  async step(): Promise<void> {
    this.#configure()
    await nativeAsync(() => this.#native.step(1, undefined, false, false))
  }

  /** A step with clipping and a schedule's factor; resolves to the norm of all gradients before clipping. */
  async stepWith(options: StepOptions = {}): Promise<number> {
    const { lrScale = 1, maxGradNorm, requireAllGradients = false } = checkOptions('stepWith', options, STEP)
    this.#configure()
    return nativeAsync(() => this.#native.step(lrScale, maxGradNorm, true, requireAllGradients))
  }

  /** Drops the gradients of its parameters. */
  zeroGrad(): void {
    native(() => this.#native.zeroGrad())
  }
  /** What it remembers from step to step, by name. */
  stateDict(): Record<string, Tensor> {
    return native(() => fromStateDict(this.#native.stateDict()))
  }
  /** Takes what `stateDict()` gave. */
  loadStateDict(state: Record<string, Tensor>): void {
    native(() => this.#native.loadStateDict(stateDict('loadStateDict', state)))
  }
}

printed(Optimizer as { prototype: Optimizer }, optimizerText)
