/**
 * Networks of one's own, module by module, with `torch.nn`'s names: what they describe becomes a `Model` through
 * `AutoModel.fromModules`, and every tuner works on it.
 *
 * ```ts
 * const model = await AutoModel.fromModules(nn.sequential({
 *   fc1: nn.linear(16, 64), act: nn.gelu(), fc2: nn.linear(64, 3),
 * }))
 * ```
 */
import { boolean, checkArgument, checkOptions, either, integer, isObject, list, number, oneOf, type OptionTable, record, where } from './options.js'

/** One module of a description; `config.json` holds it as it is. */
export interface ModuleSpec {
  /** `torch.nn`'s name of its class. */
  readonly type: string
  /** What the class has, in snake_case. */
  readonly [field: string]: unknown
}

/** A module of modules. */
export interface ContainerSpec extends ModuleSpec {
  /** What it holds, in order. */
  readonly modules: Readonly<Record<string, ModuleSpec>>
}

/** Modules by name, or numbered. */
export type NamedModules = Record<string, ModuleSpec> | ModuleSpec[]

/** A bias beside the weight, or none. */
export interface BiasOptions {
  /** Default true. */
  bias?: boolean
}

/** How a convolution moves. */
export interface ConvOptions extends BiasOptions {
  /** Default 1. */
  stride?: number
  /** Zeros at each edge. Default 0. */
  padding?: number
  /** Default 1. */
  dilation?: number
  /** Parts of the channels that do not see each other. Default 1. */
  groups?: number
}

/** Self-attention's. */
export interface AttentionOptions extends BiasOptions {
  /** Whether a position sees only those before it. Default false. */
  causal?: boolean
}

/** A norm's. */
export interface NormOptions {
  /** Added to the variance. Default 1e-5, or 1e-6 (RMSNorm). */
  eps?: number
}

/** GELU's. */
export interface GeluOptions {
  /** 'none' (default) is the exact form. */
  approximate?: 'none' | 'tanh'
}

const count = integer({ min: 1, max: 2 ** 31 - 1 })
const BIAS: OptionTable<BiasOptions> = { bias: boolean }
const CONV: OptionTable<ConvOptions> = { stride: count, padding: integer({ min: 0, max: 2 ** 31 - 1 }), dilation: count, groups: count, bias: boolean }
const ATTENTION: OptionTable<AttentionOptions> = { causal: boolean, bias: boolean }
const NORM: OptionTable<NormOptions> = { eps: number({ min: 0 }) }
const GELU: OptionTable<GeluOptions> = { approximate: oneOf('none', 'tanh') }

const spec = where('a module, as nn makes them', v => isObject(v) && typeof (v as ModuleSpec).type === 'string')
const several = list(spec)
const named = { ...either(several, record(spec)), expected: 'modules, as nn makes them: an object or a list of them' }
const dimension = integer({ min: -16, max: 16 })

/** Sizes that must be positive integers, by their names. */
function sizes(call: string, of: Record<string, number>): void {
  for (const [name, value] of Object.entries(of)) checkArgument(call, name, value, count)
}

/** A list numbers its modules, as PyTorch does. */
function container(call: string, type: string, modules: NamedModules): ContainerSpec {
  checkArgument(call, 'modules', modules, named)
  return { type, modules: Array.isArray(modules) ? Object.fromEntries(modules.map((m, i) => [String(i), m])) : { ...modules } }
}

function conv(call: 'nn.conv1d' | 'nn.conv2d', type: string, inChannels: number, outChannels: number, kernelSize: number, options: ConvOptions): ModuleSpec {
  sizes(call, { inChannels, outChannels, kernelSize })
  const { stride = 1, padding = 0, dilation = 1, groups = 1, bias = true } = checkOptions(call, options, CONV)
  return { type, in_channels: inChannels, out_channels: outChannels, kernel_size: kernelSize, stride, padding, dilation, groups, bias }
}

function norm(call: string, options: NormOptions, eps: number): number {
  return checkOptions(call, options, NORM).eps ?? eps
}

/** `torch.nn`'s modules as descriptions. */
export const nn = {
  /** Each module is given what the one before it gave. */
  sequential: (modules: NamedModules): ContainerSpec => container('nn.sequential', 'Sequential', modules),
  /** Numbered modules that run in turn. */
  moduleList: (modules: ModuleSpec[]): ContainerSpec => {
    checkArgument('nn.moduleList', 'modules', modules, several)
    return container('nn.moduleList', 'ModuleList', modules)
  },
  /** `x + f(x)`, where `f` runs the modules in turn. */
  residual: (modules: NamedModules): ContainerSpec => container('nn.residual', 'Residual', modules),

  /** `[.., in]` → `[.., out]`: `x Wᵀ + b` */
  linear: (inFeatures: number, outFeatures: number, options: BiasOptions = {}): ModuleSpec => {
    sizes('nn.linear', { inFeatures, outFeatures })
    const { bias = true } = checkOptions('nn.linear', options, BIAS)
    return { type: 'Linear', in_features: inFeatures, out_features: outFeatures, bias }
  },
  /** A linear layer whose weight lies `[in, out]`, with a bias: transformers' `Conv1D`, of which GPT-2 is made. */
  transposedLinear: (inFeatures: number, outFeatures: number): ModuleSpec => {
    sizes('nn.transposedLinear', { inFeatures, outFeatures })
    return { type: 'Conv1D', in_features: inFeatures, out_features: outFeatures }
  },
  /** Takes `inputIds`. */
  embedding: (numEmbeddings: number, embeddingDim: number): ModuleSpec => {
    sizes('nn.embedding', { numEmbeddings, embeddingDim })
    return { type: 'Embedding', num_embeddings: numEmbeddings, embedding_dim: embeddingDim }
  },
  /** `[batch, in, length]` → `[batch, out, positions]` */
  conv1d: (inChannels: number, outChannels: number, kernelSize: number, options: ConvOptions = {}): ModuleSpec =>
    conv('nn.conv1d', 'Conv1d', inChannels, outChannels, kernelSize, options),
  /** `[batch, in, height, width]` → `[batch, out, rows, cols]` */
  conv2d: (inChannels: number, outChannels: number, kernelSize: number, options: ConvOptions = {}): ModuleSpec =>
    conv('nn.conv2d', 'Conv2d', inChannels, outChannels, kernelSize, options),
  /** Self-attention over `[batch, seq, embedDim]`, with `q_proj`, `k_proj`, `v_proj` and `out_proj`. */
  multiheadAttention: (embedDim: number, numHeads: number, options: AttentionOptions = {}): ModuleSpec => {
    sizes('nn.multiheadAttention', { embedDim, numHeads })
    const { causal = false, bias = true } = checkOptions('nn.multiheadAttention', options, ATTENTION)
    return { type: 'MultiheadAttention', embed_dim: embedDim, num_heads: numHeads, causal, bias }
  },

  /** Over the last dimension: mean 0 and variance 1, then a weight and a bias. */
  layerNorm: (normalizedShape: number, options: NormOptions = {}): ModuleSpec => {
    sizes('nn.layerNorm', { normalizedShape })
    return { type: 'LayerNorm', normalized_shape: normalizedShape, eps: norm('nn.layerNorm', options, 1e-5) }
  },
  /** Over the last dimension: root mean square 1, then a weight. */
  rmsNorm: (normalizedShape: number, options: NormOptions = {}): ModuleSpec => {
    sizes('nn.rmsNorm', { normalizedShape })
    return { type: 'RMSNorm', normalized_shape: normalizedShape, eps: norm('nn.rmsNorm', options, 1e-6) }
  },
  /** Over each group of the channels of `[batch, channels, ..]`. */
  groupNorm: (numGroups: number, numChannels: number, options: NormOptions = {}): ModuleSpec => {
    sizes('nn.groupNorm', { numGroups, numChannels })
    return { type: 'GroupNorm', num_groups: numGroups, num_channels: numChannels, eps: norm('nn.groupNorm', options, 1e-5) }
  },

  /** `max(x, 0)` */
  relu: (): ModuleSpec => ({ type: 'ReLU' }),
  /** `x · Φ(x)` */
  gelu: (options: GeluOptions = {}): ModuleSpec => {
    const { approximate = 'none' } = checkOptions('nn.gelu', options, GELU)
    return { type: 'GELU', approximate }
  },
  /** `x · sigmoid(x)` */
  silu: (): ModuleSpec => ({ type: 'SiLU' }),
  /** The hyperbolic tangent. */
  tanh: (): ModuleSpec => ({ type: 'Tanh' }),
  /** `1 / (1 + e⁻ˣ)` */
  sigmoid: (): ModuleSpec => ({ type: 'Sigmoid' }),
  /** Gives what it is given. */
  identity: (): ModuleSpec => ({ type: 'Identity' }),
  /** Drops so many values in training, from 0 to 1. */
  dropout: (p = 0.5): ModuleSpec => {
    checkArgument('nn.dropout', 'p', p, number({ min: 0, max: 1 }))
    return { type: 'Dropout', p }
  },

  /** Joins all dimensions from `startDim` on. */
  flatten: (startDim = 1): ModuleSpec => {
    checkArgument('nn.flatten', 'startDim', startDim, dimension)
    return { type: 'Flatten', start_dim: startDim }
  },
  /** The mean over one dimension, such as a sequence's. */
  meanPool: (dim = 1): ModuleSpec => {
    checkArgument('nn.meanPool', 'dim', dim, dimension)
    return { type: 'MeanPool', dim }
  },
  /** `[batch, channels, height, width]` → `[batch, channels, 1, 1]` */
  globalAveragePool: (): ModuleSpec => ({ type: 'AdaptiveAvgPool2d', output_size: 1 }),
  /** Nearest neighbour. */
  upsample: (scaleFactor = 2): ModuleSpec => {
    sizes('nn.upsample', { scaleFactor })
    return { type: 'Upsample', scale_factor: scaleFactor }
  },
}
