import { native, nativeAsync, SwiftTunersError } from './errors.js'
import type { Model } from './model.js'
import { NativeGroups, NativeOptimizer, type NativeOptimizerOptions, type NativeProjection } from './native/binding.js'
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

type Params = Parameter[] | ParamGroup[]

/** What all optimizers of the core share. */
abstract class NativeBacked extends Optimizer {
  readonly paramGroups: ParamGroup[]
  readonly #native: NativeOptimizer
  readonly #lr: number

  /** @internal */
  protected constructor(kind: string, params: Params, options: NativeOptimizerOptions, pairs?: NativeGroups) {
    super()
    this.paramGroups = params.length > 0 && 'params' in params[0] ? (params as ParamGroup[]) : [{ params: params as Parameter[] }]
    const groups = pairs ?? new NativeGroups()
    for (const group of this.paramGroups) {
      native(() => groups.addGroup(lowRank(group)))
      for (const p of group.params) {
        if (!(p instanceof Parameter)) throw new TypeError(`${kind} takes Parameters, as model.parameters() gives them`)
        groups.add(p.native)
      }
    }
    if (this.paramGroups.every(g => g.params.length === 0)) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `${kind}: no parameters; is the model frozen?`)
    }
    this.#lr = options.lr
    this.#native = native(() => new NativeOptimizer(kind, groups, options))
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

/** GaLore's fields of a group, when it has a rank. */
function lowRank(group: ParamGroup): NativeProjection | undefined {
  if (group.rank === undefined || group.rank === null) return undefined
  const number = (name: string) => {
    const value = group[name] ?? undefined
    if (value === undefined || (typeof value === 'number' && value >= 0 && Number.isFinite(value))) return value
    throw new SwiftTunersError('ERR_INVALID_CONFIG', `${name}: expected a number, found ${String(value)}`, { details: { option: name } })
  }
  return {
    rank: number('rank')!,
    updateProjGap: number('updateProjGap'),
    scale: number('scale'),
    projType: group.projType == null ? undefined : String(group.projType),
    quant: Boolean(group.quant),
    quantNBit: number('quantNBit'),
    quantGroupSize: number('quantGroupSize'),
    cosThreshold: number('cosThreshold'),
    gammaProj: number('gammaProj'),
    queueSize: number('queueSize'),
  }
}

interface AdamOptions {
  /** Default 1e-3. */
  lr?: number
  /** Default [0.9, 0.999]. */
  betas?: [number, number]
  eps?: number
  weightDecay?: number
}
const adam = ({ lr = 1e-3, betas = [0.9, 0.999], eps, weightDecay }: AdamOptions, defaultDecay: number) =>
  ({ lr, weightDecay: weightDecay ?? defaultDecay, beta1: betas[0], beta2: betas[1], eps })

/** AdamW with decoupled weight decay, as `torch.optim.AdamW`. Loshchilov and Hutter 2017 (arXiv 1711.05101). */
export class AdamW extends NativeBacked {
  constructor(params: Params, options: AdamOptions = {}) {
    super('AdamW', params, adam(options, 0.01))
  }
}

/**
 * AdamW whose moments take a byte each, in blocks with a scale of their own; tensors under 4096 elements keep f32 moments.
 * As `bitsandbytes.optim.AdamW8bit`. Dettmers et al. 2021 (arXiv 2110.02861).
 */
export class AdamW8bit extends NativeBacked {
  constructor(params: Params, options: AdamOptions = {}) {
    super('AdamW8bit', params, adam(options, 0.01))
  }
}

/** Gradient descent with momentum, as `torch.optim.SGD`; weight decay is L2 regularisation. */
export class SGD extends NativeBacked {
  constructor(params: Params, options: { lr?: number; momentum?: number; dampening?: number; nesterov?: boolean; weightDecay?: number } = {}) {
    const { lr = 1e-3, weightDecay = 0, ...rest } = options
    super('SGD', params, { lr, weightDecay, ...rest })
  }
}

export interface AdafactorOptions {
  /** The learning rate when `relativeStep` is false. */
  lr?: number
  /** Added to squared gradients, and the least scale of a parameter. Default [1e-30, 1e-3]. */
  eps?: [number, number]
  clipThreshold?: number
  decayRate?: number
  beta1?: number
  weightDecay?: number
  /** Scales steps by a parameter's root mean square. Default true. */
  scaleParameter?: boolean
  /** Takes a learning rate that falls with the steps. Default true without `lr`. */
  relativeStep?: boolean
  warmupInit?: boolean
}
function adafactor(options: AdafactorOptions): NativeOptimizerOptions {
  const { lr, eps = [1e-30, 1e-3], weightDecay = 0, relativeStep = lr === undefined, ...rest } = options
  if (lr !== undefined && relativeStep) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'lr: cannot be combined with relativeStep')
  return { lr: lr ?? 0, weightDecay, eps: eps[0], eps2: eps[1], relativeStep, ...rest }
}

/** Adafactor, as transformers'. Shazeer and Stern 2018 (arXiv 1804.04235). */
export class Adafactor extends NativeBacked {
  constructor(params: Params, options: AdafactorOptions = {}) {
    super('Adafactor', params, adafactor(options))
  }
}

/** AdamW in low-rank spaces that gradients span (groups with a `rank`). Zhao et al. 2024 (arXiv 2403.03507). */
export class GaLoreAdamW extends NativeBacked {
  constructor(params: Params, options: AdamOptions & { correctBias?: boolean } = {}) {
    super('GaLoreAdamW', params, { ...adam(options, 0), correctBias: options.correctBias })
  }
}

/** Adafactor in low-rank spaces. SWIFT's defaults: no relative steps and no scaling by the parameter. */
export class GaLoreAdafactor extends NativeBacked {
  constructor(params: Params, options: AdafactorOptions = {}) {
    super('GaLoreAdafactor', params, adafactor({ lr: 1e-3, scaleParameter: false, relativeStep: false, ...options }))
  }
}

/** GaLore with a quantised basis and 8-bit moments. Zhang et al. 2024 (arXiv 2407.08296). */
export class QGaLoreAdamW extends NativeBacked {
  constructor(params: Params, options: AdamOptions = {}) {
    super('QGaLoreAdamW', params, adam(options, 0))
  }
}

/**
 * LoRA-FA: A is frozen, B takes the step that comes closest to that of full fine-tuning; all else is AdamW's, with weight decay behind
 * the update. As `peft.optimizers.create_lorafa_optimizer`, with the scalings that the layers have. Zhang et al. 2023 (arXiv 2308.03303).
 */
export class LoraFA extends NativeBacked {
  constructor(model: Model, options: AdamOptions & { correctBias?: boolean } = {}) {
    const pairs = new NativeGroups()
    native(() => pairs.pair(model.native))
    super('LoraFA', model.parameters(), { ...adam(options, 0), correctBias: options.correctBias }, pairs)
  }
}

/** Momentum made nearly orthogonal, for matrices inside of a network, as `torch.optim.Muon`. Jordan et al. 2024. */
export class Muon extends NativeBacked {
  constructor(params: Params, options: {
    lr?: number
    weightDecay?: number
    momentum?: number
    nesterov?: boolean
    nsCoefficients?: [number, number, number]
    eps?: number
    nsSteps?: number
    adjustLrFn?: 'original' | 'match_rms_adamw' | 'spectral_unclamped'
  } = {}) {
    const { lr = 1e-3, weightDecay = 0.1, ...rest } = options
    super('Muon', params, { lr, weightDecay, ...rest })
  }
}

/** SWIFT's `GaLoreConfig`, in camelCase. */
export interface GaLoreConfig {
  /** Default 128. */
  rank?: number
  /** Parts of module paths; default all blocks. */
  targetModules?: string | string[]
  /** Steps between new bases. Default 50. */
  updateProjGap?: number
  galoreScale?: number
  projType?: 'std' | 'reverse_std' | 'right' | 'left' | 'full'
  /** A group per parameter, and twice the gap. */
  optimPerParameter?: boolean
  /** Q-GaLore: for QGaLoreAdamW. */
  quantize?: boolean
  projBits?: number
  projGroupSize?: number
  cosThreshold?: number
  gammaProj?: number
  queueSize?: number
}

/** The trainable parameters in the groups that SWIFT makes for GaLore: low-rank ones, then the rest with and without decay. */
export function createGaLoreParamGroups(model: Model, config: GaLoreConfig, defaults: { lr: number; weightDecay?: number }): ParamGroup[] {
  const targets = config.targetModules === undefined ? [] : [config.targetModules].flat()
  const each = (config.optimPerParameter ?? false) && !config.quantize
  const byName = new Map(model.parameters().map(p => [p.name, p]))
  const projected = {
    lr: defaults.lr,
    rank: config.rank ?? 128,
    updateProjGap: (config.updateProjGap ?? 50) * (each ? 2 : 1),
    scale: config.galoreScale ?? 1,
    projType: config.projType ?? 'std',
    ...(config.quantize ? {
      quant: true, quantNBit: config.projBits ?? 4, quantGroupSize: config.projGroupSize ?? 256, cosThreshold: config.cosThreshold ?? 0.4,
      gammaProj: config.gammaProj ?? 2, queueSize: config.queueSize ?? 5,
    } : {}),
  }
  return native(() => model.native.galoreGroups(targets.map(String), defaults.weightDecay ?? 0, each)).map(g => {
    const group: ParamGroup = { params: g.names.map(n => byName.get(n)!), weightDecay: g.weightDecay }
    return g.projected ? { ...group, ...projected } : group
  })
}
