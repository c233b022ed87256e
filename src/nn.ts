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

/** One module of a description; `config.json` holds it as it is. */
export interface ModuleSpec {
  readonly type: string
  readonly [field: string]: unknown
}
export interface ContainerSpec extends ModuleSpec {
  readonly modules: Readonly<Record<string, ModuleSpec>>
}

type Named = Record<string, ModuleSpec> | ModuleSpec[]

/** A list numbers its modules, as PyTorch does. */
function container(type: string, modules: Named): ContainerSpec {
  return { type, modules: Array.isArray(modules) ? Object.fromEntries(modules.map((m, i) => [String(i), m])) : { ...modules } }
}

export const nn = {
  /** Each module is given what the one before it gave. */
  sequential: (modules: Named) => container('Sequential', modules),
  /** Numbered modules that run in turn. */
  moduleList: (modules: ModuleSpec[]) => container('ModuleList', modules),
  /** `x + f(x)`, where `f` runs the modules in turn. */
  residual: (modules: Named) => container('Residual', modules),

  linear: (inFeatures: number, outFeatures: number, options: { bias?: boolean } = {}): ModuleSpec =>
    ({ type: 'Linear', in_features: inFeatures, out_features: outFeatures, bias: options.bias ?? true }),
  /** A linear layer whose weight lies `[in, out]`, with a bias: transformers' `Conv1D`, of which GPT-2 is made. */
  transposedLinear: (inFeatures: number, outFeatures: number): ModuleSpec => ({ type: 'Conv1D', in_features: inFeatures, out_features: outFeatures }),
  /** Takes `inputIds`. */
  embedding: (numEmbeddings: number, embeddingDim: number): ModuleSpec =>
    ({ type: 'Embedding', num_embeddings: numEmbeddings, embedding_dim: embeddingDim }),
  /** `[batch, in, length]` → `[batch, out, positions]` */
  conv1d: (inChannels: number, outChannels: number, kernelSize: number, options: { stride?: number; padding?: number; dilation?: number; groups?: number; bias?: boolean } = {}): ModuleSpec =>
    ({ ...nn.conv2d(inChannels, outChannels, kernelSize, options), type: 'Conv1d' }),
  /** `[batch, in, height, width]` → `[batch, out, rows, cols]` */
  conv2d: (inChannels: number, outChannels: number, kernelSize: number, options: { stride?: number; padding?: number; dilation?: number; groups?: number; bias?: boolean } = {}): ModuleSpec =>
    ({
      type: 'Conv2d', in_channels: inChannels, out_channels: outChannels, kernel_size: kernelSize, stride: options.stride ?? 1,
      padding: options.padding ?? 0, dilation: options.dilation ?? 1, groups: options.groups ?? 1, bias: options.bias ?? true,
    }),
  /** Self-attention over `[batch, seq, embedDim]`, with `q_proj`, `k_proj`, `v_proj` and `out_proj`. */
  multiheadAttention: (embedDim: number, numHeads: number, options: { causal?: boolean; bias?: boolean } = {}): ModuleSpec =>
    ({ type: 'MultiheadAttention', embed_dim: embedDim, num_heads: numHeads, causal: options.causal ?? false, bias: options.bias ?? true }),

  layerNorm: (normalizedShape: number, options: { eps?: number } = {}): ModuleSpec =>
    ({ type: 'LayerNorm', normalized_shape: normalizedShape, eps: options.eps ?? 1e-5 }),
  rmsNorm: (normalizedShape: number, options: { eps?: number } = {}): ModuleSpec =>
    ({ type: 'RMSNorm', normalized_shape: normalizedShape, eps: options.eps ?? 1e-6 }),
  groupNorm: (numGroups: number, numChannels: number, options: { eps?: number } = {}): ModuleSpec =>
    ({ type: 'GroupNorm', num_groups: numGroups, num_channels: numChannels, eps: options.eps ?? 1e-5 }),

  relu: (): ModuleSpec => ({ type: 'ReLU' }),
  gelu: (options: { approximate?: 'none' | 'tanh' } = {}): ModuleSpec => ({ type: 'GELU', approximate: options.approximate ?? 'none' }),
  silu: (): ModuleSpec => ({ type: 'SiLU' }),
  tanh: (): ModuleSpec => ({ type: 'Tanh' }),
  sigmoid: (): ModuleSpec => ({ type: 'Sigmoid' }),
  identity: (): ModuleSpec => ({ type: 'Identity' }),
  dropout: (p = 0.5): ModuleSpec => ({ type: 'Dropout', p }),

  /** Joins all dimensions from `startDim` on. */
  flatten: (startDim = 1): ModuleSpec => ({ type: 'Flatten', start_dim: startDim }),
  /** The mean over one dimension, such as a sequence's. */
  meanPool: (dim = 1): ModuleSpec => ({ type: 'MeanPool', dim }),
  /** `[batch, channels, height, width]` → `[batch, channels, 1, 1]` */
  globalAveragePool: (): ModuleSpec => ({ type: 'AdaptiveAvgPool2d', output_size: 1 }),
  /** Nearest neighbour. */
  upsample: (scaleFactor = 2): ModuleSpec => ({ type: 'Upsample', scale_factor: scaleFactor }),
}
