import { native, nativeAsync, SwiftTunersError } from './errors.js'
import type { Model, Parameter } from './model.js'
import { NativeAdamW } from './native/binding.js'
import type { ParamGroup } from './swift-model.js'
import { fromStateDict, stateDict, type Tensor } from './tensor.js'

/** What a Trainer asks of an optimizer beside the public calls. */
export interface StepOptions {
  /** Factor of a schedule on every group's learning rate. */
  lrScale?: number
  /** Clips the joint norm of all gradients. */
  maxGradNorm?: number
  /** Refuses the step when a trainable parameter has no gradient. */
  requireAllGradients?: boolean
}

export abstract class Optimizer {
  abstract readonly paramGroups: ParamGroup[]
  abstract step(): Promise<void>
  abstract zeroGrad(): void
  abstract stateDict(): Record<string, Tensor>
  abstract loadStateDict(state: Record<string, Tensor>): void
  /** A step with clipping and a schedule's factor; resolves to the norm of all gradients before clipping. */
  abstract stepWith(options: StepOptions): Promise<number>
  /** The learning rate of the first group, before a schedule. */
  abstract readonly learningRate: number
}

/** AdamW with decoupled weight decay, as `torch.optim.AdamW`. Loshchilov and Hutter 2017 (arXiv 1711.05101). */
export class AdamW extends Optimizer {
  readonly paramGroups: ParamGroup[]
  readonly #native: NativeAdamW
  readonly #lr: number

  constructor(params: Parameter[] | ParamGroup[], options: { lr?: number; betas?: [number, number]; eps?: number; weightDecay?: number } = {}) {
    super()
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01 } = options
    this.paramGroups = params.length > 0 && 'params' in params[0] ? (params as ParamGroup[]) : [{ params: params as Parameter[] }]
    const models = new Set<Model>(this.paramGroups.flatMap(g => g.params.map(p => p.model)))
    const [model] = models
    if (!model) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'AdamW: no parameters; is the model frozen?')
    if (models.size > 1) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'AdamW: the parameters belong to several models; use an optimizer for each')
    this.#lr = lr
    this.#native = native(() => new NativeAdamW(model.native, this.#groups(), { lr, beta1: betas[0], beta2: betas[1], eps, weightDecay }))
  }

  #groups() {
    return this.paramGroups.map(g => ({ names: g.params.map(p => p.name), lr: g.lr, weightDecay: g.weightDecay }))
  }

  get learningRate(): number {
    return this.paramGroups[0]?.lr ?? this.#lr
  }

  /** Updates every parameter that has a gradient; the others are skipped, also by weight decay. */
  async step(): Promise<void> {
    native(() => this.#native.configure(this.#groups()))
    await nativeAsync(() => this.#native.step(1, undefined, false, false))
  }

  stepWith(options: StepOptions): Promise<number> {
    native(() => this.#native.configure(this.#groups()))
    return nativeAsync(() => this.#native.step(options.lrScale ?? 1, options.maxGradNorm, true, options.requireAllGradients ?? false))
  }

  zeroGrad(): void {
    native(() => this.#native.zeroGrad())
  }
  stateDict(): Record<string, Tensor> {
    return native(() => fromStateDict(this.#native.stateDict()))
  }
  loadStateDict(state: Record<string, Tensor>): void {
    native(() => this.#native.loadStateDict(stateDict(state)))
  }
}
