/** The optimizers: one class and one table of options each. */
import { native } from './errors.js'
import { Model } from './model.js'
import { NativeGroups, type NativeOptimizerOptions } from './native/binding.js'
import { boolean, checkArgument, checkOptions, instance, integer, invalid, number, oneOf, type OptionTable, where } from './options.js'
import { NativeBacked } from './optimizer.js'
import { LR_HINTS, type Params } from './param-group.js'

const rate = number({ min: 0 })
const share = number({ min: 0, max: 1 })
const numbers = (count: number, what: string, accepts: (value: number) => boolean) =>
  where(what, v => Array.isArray(v) && v.length === count && v.every(x => Number.isFinite(x) && accepts(x)))

/** Of AdamW and its relatives. */
export interface AdamOptions {
  /** The learning rate. Default 1e-3. */
  lr?: number
  /** How slowly the means of gradients and of their squares change. Default [0.9, 0.999]. */
  betas?: [number, number]
  /** Added to the denominator. Default 1e-8, or 1e-6 where the original has it. */
  eps?: number
  /** Default 0.01 (AdamW, AdamW8bit), or 0. */
  weightDecay?: number
}

/** The same, for those that follow transformers' older AdamW. */
export interface CorrectedAdamOptions extends AdamOptions {
  /** Whether the means are corrected for starting at 0. Default true. */
  correctBias?: boolean
}

/** Of SGD. */
export interface SGDOptions {
  /** The learning rate. Default 1e-3. */
  lr?: number
  /** How much of the last step stays. Default 0. */
  momentum?: number
  /** How much less a gradient counts in the momentum. Default 0. */
  dampening?: number
  /** Looks one step ahead. Default false. */
  nesterov?: boolean
  /** L2 regularisation. Default 0. */
  weightDecay?: number
}

/** Of Adafactor. */
export interface AdafactorOptions {
  /** The learning rate when `relativeStep` is false. */
  lr?: number
  /** Added to squared gradients, and the least scale of a parameter. Default [1e-30, 1e-3]. */
  eps?: [number, number]
  /** The most that an update's root mean square may be. Default 1. */
  clipThreshold?: number
  /** How the mean of squares slows down. Default -0.8. */
  decayRate?: number
  /** Momentum; none when absent. */
  beta1?: number
  /** Default 0. */
  weightDecay?: number
  /** Scales steps by a parameter's root mean square. Default true. */
  scaleParameter?: boolean
  /** Takes a learning rate that falls with the steps. Default true without `lr`. */
  relativeStep?: boolean
  /** Starts with small steps; with `relativeStep`. Default false. */
  warmupInit?: boolean
}

/** Of Muon. */
export interface MuonOptions {
  /** The learning rate. Default 1e-3. */
  lr?: number
  /** Default 0.1. */
  weightDecay?: number
  /** Default 0.95. */
  momentum?: number
  /** Looks one step ahead. Default true. */
  nesterov?: boolean
  /** The polynomial of an iteration. Default [3.4445, -4.775, 2.0315]. */
  nsCoefficients?: [number, number, number]
  /** Keeps from dividing by 0. Default 1e-7. */
  eps?: number
  /** Iterations. Default 5. */
  nsSteps?: number
  /** How the rate follows a matrix's shape. Default 'original'. */
  adjustLrFn?: 'original' | 'match_rms_adamw' | 'spectral_unclamped'
}

const ADAM: OptionTable<AdamOptions> = {
  lr: rate, betas: numbers(2, 'two numbers from 0 on and below 1', x => x >= 0 && x < 1), eps: rate, weightDecay: rate,
}
const CORRECTED: OptionTable<CorrectedAdamOptions> = { ...ADAM, correctBias: boolean }
const SGD_OPTIONS: OptionTable<SGDOptions> = { lr: rate, momentum: rate, dampening: number(), nesterov: boolean, weightDecay: rate }
const ADAFACTOR: OptionTable<AdafactorOptions> = {
  lr: rate, eps: numbers(2, 'two numbers from 0 on', x => x >= 0), clipThreshold: number({ above: 0 }), decayRate: number(), beta1: share, weightDecay: rate,
  scaleParameter: boolean, relativeStep: boolean, warmupInit: boolean,
}
const MUON: OptionTable<MuonOptions> = {
  lr: rate, weightDecay: rate, momentum: rate, nesterov: boolean, nsCoefficients: numbers(3, 'three numbers', () => true), eps: rate,
  nsSteps: integer({ min: 1, max: 99 }), adjustLrFn: oneOf('original', 'match_rms_adamw', 'spectral_unclamped'),
}

/** PyTorch's options that there are not, and other names of those that there are. */
const HINTS: Record<string, string> = {
  ...LR_HINTS,
  amsgrad: 'it is not supported', maximize: 'multiply the loss by -1', fused: 'updates are fused always', foreach: 'updates are fused always',
  beta1: 'give betas: [beta1, beta2]', beta2: 'give betas: [beta1, beta2]', maxGradNorm: 'it is the Trainer\'s, or stepWith\'s',
}

function adam<T extends CorrectedAdamOptions>(kind: string, options: T, table: OptionTable<T>, defaultDecay: number): NativeOptimizerOptions {
  const { lr = 1e-3, betas = [0.9, 0.999], eps, weightDecay = defaultDecay, correctBias } = checkOptions(kind, options, table, HINTS)
  return { lr, weightDecay, beta1: betas[0], beta2: betas[1], eps, correctBias }
}

function adafactor(kind: string, options: AdafactorOptions, defaults: AdafactorOptions = {}): NativeOptimizerOptions {
  const { lr, eps = [1e-30, 1e-3], weightDecay = 0, relativeStep = lr === undefined, ...rest } = { ...defaults, ...checkOptions(kind, options, ADAFACTOR, LR_HINTS) }
  if (lr !== undefined && relativeStep) throw invalid('lr', `${kind}: lr: cannot be combined with relativeStep`)
  return { lr: lr ?? 0, weightDecay, eps: eps[0], eps2: eps[1], relativeStep, ...rest }
}

/** AdamW with decoupled weight decay, as `torch.optim.AdamW`. Loshchilov and Hutter 2017 (arXiv 1711.05101). */
export class AdamW extends NativeBacked {
  constructor(params: Params, options: AdamOptions = {}) {
    super('AdamW', params, adam('AdamW', options, ADAM, 0.01))
  }
}

/**
 * AdamW whose moments take a byte each, in blocks with a scale of their own; tensors under 4096 elements keep f32 moments.
 * As `bitsandbytes.optim.AdamW8bit`. Dettmers et al. 2021 (arXiv 2110.02861).
 */
export class AdamW8bit extends NativeBacked {
  constructor(params: Params, options: AdamOptions = {}) {
    super('AdamW8bit', params, adam('AdamW8bit', options, ADAM, 0.01))
  }
}

/** Gradient descent with momentum, as `torch.optim.SGD`; weight decay is L2 regularisation. */
export class SGD extends NativeBacked {
  constructor(params: Params, options: SGDOptions = {}) {
    const { lr = 1e-3, weightDecay = 0, ...rest } = checkOptions('SGD', options, SGD_OPTIONS, HINTS)
    super('SGD', params, { lr, weightDecay, ...rest })
  }
}

/** Adafactor, as transformers'. Shazeer and Stern 2018 (arXiv 1804.04235). */
export class Adafactor extends NativeBacked {
  constructor(params: Params, options: AdafactorOptions = {}) {
    super('Adafactor', params, adafactor('Adafactor', options))
  }
}

/** AdamW in low-rank spaces that gradients span (groups with a `rank`). Zhao et al. 2024 (arXiv 2403.03507). */
export class GaLoreAdamW extends NativeBacked {
  constructor(params: Params, options: CorrectedAdamOptions = {}) {
    super('GaLoreAdamW', params, adam('GaLoreAdamW', options, CORRECTED, 0))
  }
}

/** Adafactor in low-rank spaces. SWIFT's defaults: no relative steps and no scaling by the parameter. */
export class GaLoreAdafactor extends NativeBacked {
  constructor(params: Params, options: AdafactorOptions = {}) {
    super('GaLoreAdafactor', params, adafactor('GaLoreAdafactor', options, { lr: 1e-3, scaleParameter: false, relativeStep: false }))
  }
}

/** GaLore with a quantised basis and 8-bit moments. Zhang et al. 2024 (arXiv 2407.08296). */
export class QGaLoreAdamW extends NativeBacked {
  constructor(params: Params, options: AdamOptions = {}) {
    super('QGaLoreAdamW', params, adam('QGaLoreAdamW', options, ADAM, 0))
  }
}

/**
 * LoRA-FA: A is frozen, B takes the step that comes closest to that of full fine-tuning; all else is AdamW's, with weight decay behind
 * the update. As `peft.optimizers.create_lorafa_optimizer`, with the scalings that the layers have. Zhang et al. 2023 (arXiv 2308.03303).
 */
export class LoraFA extends NativeBacked {
  constructor(model: Model, options: CorrectedAdamOptions = {}) {
    checkArgument('LoraFA', 'model', model, instance(Model, 'a Model'))
    const settings = adam('LoraFA', options, CORRECTED, 0)
    const pairs = new NativeGroups()
    native(() => pairs.pair(model.native))
    super('LoraFA', model.parameters(), settings, pairs)
  }
}

/** Momentum made nearly orthogonal, for matrices inside of a network, as `torch.optim.Muon`. Jordan et al. 2024. */
export class Muon extends NativeBacked {
  constructor(params: Params, options: MuonOptions = {}) {
    const { lr = 1e-3, weightDecay = 0.1, ...rest } = checkOptions('Muon', options, MUON, HINTS)
    super('Muon', params, { lr, weightDecay, ...rest })
  }
}
