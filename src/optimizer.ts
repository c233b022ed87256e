import { native, nativeAsync, SwiftTunersError } from './errors.js'
import { NativeAdamW, NativeGroups } from './native/binding.js'
import { Parameter } from './parameter.js'
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
    const groups = new NativeGroups()
    for (const group of this.paramGroups) {
      groups.addGroup()
      for (const p of group.params) {
        if (!(p instanceof Parameter)) throw new TypeError('AdamW takes Parameters, as model.parameters() gives them')
        groups.add(p.native)
      }
    }
    if (this.paramGroups.every(g => g.params.length === 0)) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', 'AdamW: no parameters; is the model frozen?')
    }
    this.#lr = lr
    this.#native = native(() => new NativeAdamW(groups, { lr, beta1: betas[0], beta2: betas[1], eps, weightDecay }))
    this.#configure()
  }

  #configure(): void {
    native(() => this.#native.configure(this.paramGroups.map(g => ({ lr: g.lr, weightDecay: g.weightDecay }))))
  }

  get learningRate(): number {
    return this.paramGroups[0]?.lr ?? this.#lr
  }

  /** Updates every parameter that has a gradient; the others are skipped, also by weight decay. */
  async step(): Promise<void> {
    this.#configure()
    await nativeAsync(() => this.#native.step(1, undefined, false, false))
  }

  stepWith(options: StepOptions): Promise<number> {
    this.#configure()
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
