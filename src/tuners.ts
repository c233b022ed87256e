// Written by `npm run configs` from the declarations in crates/tuners; not to be edited.
import { complete, type ModelKeyMapping, PeftConfig, register, type ResTunerBlock, SwiftConfig } from './configs.js'

/** A low-rank update of chosen layers. Hu et al. 2021 (arXiv 2106.09685). */
export interface LoRAFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Whether weights lie `[in, out]`; corrected to what the layers are. Default false. */
  fanInFanOut?: boolean
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Rank of the update. Default 8. */
  r?: number
  /** The update is scaled by `loraAlpha / r`. Default 8. */
  loraAlpha?: number
  /** Default 0.0. */
  loraDropout?: number
  /** Scale by `loraAlpha / sqrt(r)`. Kalajdzievski 2023 (arXiv 2312.03732). Default false. */
  useRslora?: boolean
  /** How the matrices start: true, false (both random, so that the adapter acts at once), or by name. Default true. */
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  /** Weight and direction apart. Liu et al. 2024 (arXiv 2402.09353). Default false. */
  useDora?: boolean
  /** A bias of B, which merges into the layer's. Default false. */
  loraBias?: boolean
  /** Adapts a tied output projection together with the embedding. Default false. */
  ensureWeightTying?: boolean
  /** Type of the adapter's weights; default the base's (SWIFT) or at least f32 (PEFT). */
  loraDtype?: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  /** Default 1e-6. */
  lorapEmbLr?: number
  rankPattern?: Record<string, number>
  alphaPattern?: Record<string, number>
  /** LoRA+'s factor on B's learning rate. Hayou et al. 2024 (arXiv 2402.12354). Default 16.0. */
  lorapLrRatio?: number | null
  /** One LoRA per block of output rows of a fused projection. Default false. */
  useMergedLinear?: boolean
  /** Which of the equal blocks have one. */
  enableLora?: boolean[] | null
}
/** A low-rank update of chosen layers. Hu et al. 2021 (arXiv 2106.09685). */
export class LoRAConfig extends SwiftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly loraAlpha: number
  declare readonly loraDropout: number
  declare readonly useRslora: boolean
  declare readonly initLoraWeights: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  declare readonly useDora: boolean
  declare readonly loraBias: boolean
  declare readonly ensureWeightTying: boolean
  declare readonly loraDtype: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  declare readonly lorapEmbLr: number
  declare readonly rankPattern: Record<string, number>
  declare readonly alphaPattern: Record<string, number>
  declare readonly lorapLrRatio: number | null
  declare readonly useMergedLinear: boolean
  declare readonly enableLora: boolean[] | null

  constructor(fields: LoRAFields = {}, raw?: symbol) {
    super(complete(fields, { swift_type: 'LORA' }, raw))
  }
}

/** LoRA with trained embeddings and norms, and attention in shifted groups while training. Chen et al. 2023 (arXiv 2309.12307). */
export interface LongLoRAFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Whether weights lie `[in, out]`; corrected to what the layers are. Default false. */
  fanInFanOut?: boolean
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Rank of the update. Default 8. */
  r?: number
  /** The update is scaled by `loraAlpha / r`. Default 8. */
  loraAlpha?: number
  /** Default 0.0. */
  loraDropout?: number
  /** Scale by `loraAlpha / sqrt(r)`. Kalajdzievski 2023 (arXiv 2312.03732). Default false. */
  useRslora?: boolean
  /** How the matrices start: true, false (both random, so that the adapter acts at once), or by name. Default true. */
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  /** Weight and direction apart. Liu et al. 2024 (arXiv 2402.09353). Default false. */
  useDora?: boolean
  /** A bias of B, which merges into the layer's. Default false. */
  loraBias?: boolean
  /** Adapts a tied output projection together with the embedding. Default false. */
  ensureWeightTying?: boolean
  /** Type of the adapter's weights; default the base's (SWIFT) or at least f32 (PEFT). */
  loraDtype?: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  /** Default 1e-6. */
  lorapEmbLr?: number
  rankPattern?: Record<string, number>
  alphaPattern?: Record<string, number>
  /** LoRA+'s factor on B's learning rate. Hayou et al. 2024 (arXiv 2402.12354). Default 16.0. */
  lorapLrRatio?: number | null
  /** One LoRA per block of output rows of a fused projection. Default false. */
  useMergedLinear?: boolean
  /** Which of the equal blocks have one. */
  enableLora?: boolean[] | null
  /** Base parameters that train and are saved, too: parts of names, or a regular expression for whole ones. Default ['embed','norm']. */
  embedderAndNormalizer?: string[] | string
  /** For the shifted attention (all Llama-like architectures); null for none. */
  modelType?: 'llama' | null
  /** Share of the sequence that a group has. Default 0.25. */
  groupSizeRatio?: number
}
/** LoRA with trained embeddings and norms, and attention in shifted groups while training. Chen et al. 2023 (arXiv 2309.12307). */
export class LongLoRAConfig extends SwiftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly loraAlpha: number
  declare readonly loraDropout: number
  declare readonly useRslora: boolean
  declare readonly initLoraWeights: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  declare readonly useDora: boolean
  declare readonly loraBias: boolean
  declare readonly ensureWeightTying: boolean
  declare readonly loraDtype: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  declare readonly lorapEmbLr: number
  declare readonly rankPattern: Record<string, number>
  declare readonly alphaPattern: Record<string, number>
  declare readonly lorapLrRatio: number | null
  declare readonly useMergedLinear: boolean
  declare readonly enableLora: boolean[] | null
  declare readonly embedderAndNormalizer: string[] | string
  declare readonly modelType: 'llama' | null
  declare readonly groupSizeRatio: number

  constructor(fields: LongLoRAFields = {}, raw?: symbol) {
    super(complete(fields, { swift_type: 'longlora' }, raw))
  }
}

/** A bottleneck with a residual on a module's output. Houlsby et al. 2019 (arXiv 1902.00751). */
export interface AdapterFields {
  /** Width of what the module gives out. */
  dim: number
  /** Which modules: a regular expression for whole names, or a list of endings. */
  targetModules: string | string[]
  /** Which element of a tuple or model output; needed where the module gives more than a tensor. */
  hiddenPos?: number | string | null
  /** The method that is surrounded; BERT's layers also have 'feed_forward_chunk'. Default 'forward'. */
  methodName?: string
  /** Inner width. Default 128. */
  adapterLength?: number
  /** An activation by its transformers name. Default 'gelu'. */
  actLayer?: string
}
/** A bottleneck with a residual on a module's output. Houlsby et al. 2019 (arXiv 1902.00751). */
export class AdapterConfig extends SwiftConfig {
  declare readonly dim: number
  declare readonly targetModules: string | string[]
  declare readonly hiddenPos: number | string | null
  declare readonly methodName: string
  declare readonly adapterLength: number
  declare readonly actLayer: string

  constructor(fields: AdapterFields, raw?: symbol) {
    super(complete(fields, { swift_type: 'ADAPTER' }, raw))
  }
}

/** Trained positions in the sequences of layers. Jia et al. 2022 (arXiv 2203.12119). */
export interface PromptFields {
  /** Width of the hidden state: one for all layers, or one for each that matches. */
  dim: number | number[]
  /** Layers of a list: their paths end in a number. Layer 0 lengthens the sequence, the others overwrite its ends. */
  targetModules: string | string[]
  /** Where the hidden state is among the layer's arguments. */
  embeddingPos: number | string
  attentionMaskPos?: number | string | null
  /** Added to the attention scores of the prompt; 0 makes it visible. Default 0.0. */
  attentionMaskValue?: number
  /** Default 16. */
  promptLength?: number
  /** Before the sequence, or behind it. Default true. */
  attachFront?: boolean
  /** Cuts the prompt's positions from the layer's output. Default false. */
  extractEmbedding?: boolean
}
/** Trained positions in the sequences of layers. Jia et al. 2022 (arXiv 2203.12119). */
export class PromptConfig extends SwiftConfig {
  declare readonly dim: number | number[]
  declare readonly targetModules: string | string[]
  declare readonly embeddingPos: number | string
  declare readonly attentionMaskPos: number | string | null
  declare readonly attentionMaskValue: number
  declare readonly promptLength: number
  declare readonly attachFront: boolean
  declare readonly extractEmbedding: boolean

  constructor(fields: PromptFields, raw?: symbol) {
    super(complete(fields, { swift_type: 'PROMPT' }, raw))
  }
}

/** A small network beside a module, the outputs blended. Zhang et al. 2019 (arXiv 1912.13503). */
export interface SideFields {
  /** Width of what is blended. */
  dim: number
  /** A regular expression for whole names; the empty one means the model itself. */
  targetModules: string
  /** 'fcn4' and 'alexnet' take images; 'alexnet' starts from random weights here, in Python from ImageNet's. Default 'fcn4'. */
  sideModuleName?: 'mlp' | 'fcn4' | 'alexnet'
  /** The side network's input among the module's arguments. Default 0. */
  sourceHiddenPos?: number | string
  /** Which element of the module's output. Default 0. */
  targetHiddenPos?: number | string
}
/** A small network beside a module, the outputs blended. Zhang et al. 2019 (arXiv 1912.13503). */
export class SideConfig extends SwiftConfig {
  declare readonly dim: number
  declare readonly targetModules: string
  declare readonly sideModuleName: 'mlp' | 'fcn4' | 'alexnet'
  declare readonly sourceHiddenPos: number | string
  declare readonly targetHiddenPos: number | string

  constructor(fields: SideFields, raw?: symbol) {
    super(complete(fields, { swift_type: 'SIDE' }, raw))
  }
}

/** A bypass network beside the frozen model. Jiang et al. 2023 (arXiv 2310.19859). */
export interface ResTuningFields {
  /** Channels of the stems: one for all, or one for each. */
  dims: number | number[]
  /** Where the bypass starts; default the first stem's input. */
  rootModules?: string | null
  /** Default 'input'. */
  rootModulesHook?: 'input' | 'output'
  /** A regular expression, or exact paths in the order of the bypass. */
  stemModules: string | string[]
  /** Default 'output'. */
  stemModulesHook?: 'input' | 'output'
  targetModules: string
  /** Default 'input'. */
  targetModulesHook?: 'input' | 'output'
  /** Default 0. */
  targetHiddenPos?: number | string | null
  /** One for all blocks, or one for each. */
  tunerCfg?: ResTunerBlock | ResTunerBlock[] | null
  /** Default false. */
  useUpsample?: boolean
  upsampleOutChannels?: number | null | (number | null)[] | null
  /** Default false. */
  zeroInitLast?: boolean
  /** Default true. */
  useBypass?: boolean
}
/** A bypass network beside the frozen model. Jiang et al. 2023 (arXiv 2310.19859). */
export class ResTuningConfig extends SwiftConfig {
  declare readonly dims: number | number[]
  declare readonly rootModules: string | null
  declare readonly rootModulesHook: 'input' | 'output'
  declare readonly stemModules: string | string[]
  declare readonly stemModulesHook: 'input' | 'output'
  declare readonly targetModules: string
  declare readonly targetModulesHook: 'input' | 'output'
  declare readonly targetHiddenPos: number | string | null
  declare readonly tunerCfg: ResTunerBlock | ResTunerBlock[] | null
  declare readonly useUpsample: boolean
  declare readonly upsampleOutChannels: number | null | (number | null)[] | null
  declare readonly zeroInitLast: boolean
  declare readonly useBypass: boolean

  constructor(fields: ResTuningFields, raw?: symbol) {
    super(complete(fields, { swift_type: 'RESTUNING' }, raw))
  }
}

/** Tunes skip connections. Jiang et al. 2023 (arXiv 2312.11392). */
export interface SCETuningFields {
  dims: number | number[]
  /** A regular expression, or exact paths; a list of modules means its last one. */
  targetModules: string | string[]
  hintModules?: string | string[] | null
  /** 'decoder': the skip connection in the module's input; otherwise the module's output. Default 'decoder'. */
  tunerMode?: 'encoder' | 'decoder' | 'identity'
  /** Default 'SCEAdapter'. */
  tunerOp?: 'SCEAdapter'
  /** Inner width as a share of `dims`. Default 1.0. */
  downRatio?: number
}
/** Tunes skip connections. Jiang et al. 2023 (arXiv 2312.11392). */
export class SCETuningConfig extends SwiftConfig {
  declare readonly dims: number | number[]
  declare readonly targetModules: string | string[]
  declare readonly hintModules: string | string[] | null
  declare readonly tunerMode: 'encoder' | 'decoder' | 'identity'
  declare readonly tunerOp: 'SCEAdapter'
  declare readonly downRatio: number

  constructor(fields: SCETuningFields, raw?: symbol) {
    super(complete(fields, { swift_type: 'SCETuning' }, raw))
  }
}

/** Noise on embeddings in training; alone it freezes nothing. Jain et al. 2023 (arXiv 2310.05914). */
export interface NEFTuneFields {
  /** The noise is uniform within `noiseAlpha / sqrt(seq · dim)`. Default 5.0. */
  noiseAlpha?: number
}
/** Noise on embeddings in training; alone it freezes nothing. Jain et al. 2023 (arXiv 2310.05914). */
export class NEFTuneConfig extends SwiftConfig {
  declare readonly noiseAlpha: number

  constructor(fields: NEFTuneFields = {}, raw?: symbol) {
    super(complete(fields, { swift_type: 'neftune' }, raw))
  }
}

/** New blocks between the old ones, which start as identities. Wu et al. 2024 (arXiv 2401.02415). */
export interface LLaMAProFields {
  /** For architectures that SWIFT has no name for. */
  modelKeyMapping?: ModelKeyMapping | null
  /** SWIFT's name of the architecture: 'llama' for Llama, Mistral, Qwen and Gemma, 'phi3', … */
  modelType?: string | null
  numNewBlocks: number
  /** How many blocks are inserted, evenly. Default `numNewBlocks`. */
  numGroups?: number | null
}
/** New blocks between the old ones, which start as identities. Wu et al. 2024 (arXiv 2401.02415). */
export class LLaMAProConfig extends SwiftConfig {
  declare readonly modelKeyMapping: ModelKeyMapping | null
  declare readonly modelType: string | null
  declare readonly numNewBlocks: number
  declare readonly numGroups: number | null

  constructor(fields: LLaMAProFields, raw?: symbol) {
    super(complete(fields, { swift_type: 'LLAMAPRO' }, raw))
  }
}

/** Full training of chosen modules, on copies that belong to the adapter. */
export interface PartFields {
  /** A regular expression for whole names. */
  targetModules: string
}
/** Full training of chosen modules, on copies that belong to the adapter. */
export class PartConfig extends SwiftConfig {
  declare readonly targetModules: string

  constructor(fields: PartFields, raw?: symbol) {
    super(complete(fields, { swift_type: 'part' }, raw))
  }
}

/** Interventions on hidden states. Wu et al. 2024 (arXiv 2404.03592). */
export interface ReftFields {
  modelKeyMapping?: ModelKeyMapping | null
  /** SWIFT's name of the architecture; or give `layerKey`. */
  modelType?: string | null
  /** The path of the list of layers. */
  layerKey?: string | null
  /** Default all. */
  layers?: number | number[] | null
  /** Default 4. */
  r?: number
  /** Default 'LoreftIntervention'. */
  interventionType?: 'LoreftIntervention' | 'NoreftIntervention' | 'ConsreftIntervention' | 'LobireftIntervention' | 'DireftIntervention' | 'NodireftIntervention'
  /** `add_bias`, `act_fn`, `dropout`; as JSON text or as an object. */
  args?: string | { add_bias?: boolean; act_fn?: string; dropout?: number }
}
/** Interventions on hidden states. Wu et al. 2024 (arXiv 2404.03592). */
export class ReftConfig extends SwiftConfig {
  declare readonly modelKeyMapping: ModelKeyMapping | null
  declare readonly modelType: string | null
  declare readonly layerKey: string | null
  declare readonly layers: number | number[] | null
  declare readonly r: number
  declare readonly interventionType: 'LoreftIntervention' | 'NoreftIntervention' | 'ConsreftIntervention' | 'LobireftIntervention' | 'DireftIntervention' | 'NodireftIntervention'
  declare readonly args: string | { add_bias?: boolean; act_fn?: string; dropout?: number }

  constructor(fields: ReftFields = {}, raw?: symbol) {
    super(complete(fields, { swift_type: 'reft' }, raw))
  }
}

/** A low-rank update of chosen layers. Hu et al. 2021 (arXiv 2106.09685). */
export interface LoraFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Whether weights lie `[in, out]`; corrected to what the layers are. Default false. */
  fanInFanOut?: boolean
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Rank of the update. Default 8. */
  r?: number
  /** The update is scaled by `loraAlpha / r`. Default 8. */
  loraAlpha?: number
  /** Default 0.0. */
  loraDropout?: number
  /** Scale by `loraAlpha / sqrt(r)`. Kalajdzievski 2023 (arXiv 2312.03732). Default false. */
  useRslora?: boolean
  /** How the matrices start: true, false (both random, so that the adapter acts at once), or by name. Default true. */
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  /** Weight and direction apart. Liu et al. 2024 (arXiv 2402.09353). Default false. */
  useDora?: boolean
  /** A bias of B, which merges into the layer's. Default false. */
  loraBias?: boolean
  /** Adapts a tied output projection together with the embedding. Default false. */
  ensureWeightTying?: boolean
  /** Type of the adapter's weights; default the base's (SWIFT) or at least f32 (PEFT). */
  loraDtype?: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  /** Default 1e-6. */
  lorapEmbLr?: number
  rankPattern?: Record<string, number>
  alphaPattern?: Record<string, number>
  /** LoRA+'s factor on B's learning rate. Hayou et al. 2024 (arXiv 2402.12354). */
  lorapLrRatio?: number | null
  /** Tokens from whose last occurrence on a row is adapted; a row without them stays as it is. Greenewald et al. 2025 (arXiv 2504.12397). */
  aloraInvocationTokens?: number[] | null
  /** Parameters that are adapted where they are read, by the ends of their names, such as a layer's stacked experts. */
  targetParameters?: string[] | null
  /** Ranges `[first, last + 1]` of layers that a new stack is made of, over shared weights with adapters of their own. */
  layerReplication?: number[][] | null
  /** Block-diagonal factors. Konopik et al. 2025 (arXiv 2510.23346). */
  useBdlora?: { target_modules_bd_a?: string[] | null; target_modules_bd_b?: string[] | null; nblocks?: number; match_strict?: boolean } | null
  /** The weight rounded to a few bits, and a LoRA that starts with what that lost; with `initLoraWeights: 'loftq'`. Li et al. 2023 (arXiv 2310.08659). */
  loftqConfig?: { loftq_bits?: number; loftq_iter?: number }
  /** Of `initLoraWeights: 'eva'`, which `initializeLoraEvaWeights` goes on with. Paischer et al. 2024 (arXiv 2410.07170). */
  evaConfig?: { rho?: number; tau?: number; use_label_mask?: boolean; label_mask_value?: number; whiten?: boolean; adjust_scaling_factors?: boolean } | null
  /** Of `initLoraWeights: 'corda'`, which `preprocessCorda` prepares. Yang et al. 2024 (arXiv 2406.05223). */
  cordaConfig?: { cache_file?: ; covariance_file?: ; corda_method?: 'ipm' | 'kpm'; verbose?: boolean; use_float16_for_covariance?: ; prune_temporary_fields?: boolean } | null
  /** On packed weights A reads means over groups of inputs. Xu et al. 2023 (arXiv 2309.14717). Default false. */
  useQalora?: boolean
  /** Makes this adapter a router over others. Ostapenko et al. 2024 (arXiv 2405.11157). */
  arrowConfig?: { top_k?: number; router_temperature?: number; use_gks?: boolean; task_adapter_names?: string[] | null; gks_adapter_names?: string[] | null; rng_seed?: number | null } | null
  /** Of `initLoraWeights: 'lora_ga'`, which `preprocessLoraga` prepares. Wang et al. 2024 (arXiv 2407.05000). */
  loraGaConfig?: { direction?: 'ArBr' | 'A2rBr' | 'ArB2r' | 'random'; scale?: 'stable' | 'weight_svd' | 'gd_scale' | 'unit'; stable_gamma?: number } | null
  /** Training keeps inputs compressed. Miles et al. 2024 (arXiv 2405.17991). */
  veloraConfig?: { num_groups?: number; scale?: number; init_type?: 'batch_average' | 'batch_average_once' | 'random' } | null
  /** Training samples around A. Sengupta et al. 2024 (arXiv 2411.04358). */
  montecloraConfig?: { num_samples?: number; use_entropy?: boolean; dirichlet_prior?: number; sample_scaler?: number; kl_loss_weight?: number; buffer_size?: number } | null
  /** Drops the weight's smallest singular values. Wang et al. 2024 (arXiv 2412.06071). */
  kasaConfig?: { beta?: number; gamma?: number } | null
}
/** A low-rank update of chosen layers. Hu et al. 2021 (arXiv 2106.09685). */
export class LoraConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly loraAlpha: number
  declare readonly loraDropout: number
  declare readonly useRslora: boolean
  declare readonly initLoraWeights: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  declare readonly useDora: boolean
  declare readonly loraBias: boolean
  declare readonly ensureWeightTying: boolean
  declare readonly loraDtype: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  declare readonly lorapEmbLr: number
  declare readonly rankPattern: Record<string, number>
  declare readonly alphaPattern: Record<string, number>
  declare readonly lorapLrRatio: number | null
  declare readonly aloraInvocationTokens: number[] | null
  declare readonly targetParameters: string[] | null
  declare readonly layerReplication: number[][] | null
  declare readonly useBdlora: { target_modules_bd_a?: string[] | null; target_modules_bd_b?: string[] | null; nblocks?: number; match_strict?: boolean } | null
  declare readonly loftqConfig: { loftq_bits?: number; loftq_iter?: number }
  declare readonly evaConfig: { rho?: number; tau?: number; use_label_mask?: boolean; label_mask_value?: number; whiten?: boolean; adjust_scaling_factors?: boolean } | null
  declare readonly cordaConfig: { cache_file?: ; covariance_file?: ; corda_method?: 'ipm' | 'kpm'; verbose?: boolean; use_float16_for_covariance?: ; prune_temporary_fields?: boolean } | null
  declare readonly useQalora: boolean
  declare readonly arrowConfig: { top_k?: number; router_temperature?: number; use_gks?: boolean; task_adapter_names?: string[] | null; gks_adapter_names?: string[] | null; rng_seed?: number | null } | null
  declare readonly loraGaConfig: { direction?: 'ArBr' | 'A2rBr' | 'ArB2r' | 'random'; scale?: 'stable' | 'weight_svd' | 'gd_scale' | 'unit'; stable_gamma?: number } | null
  declare readonly veloraConfig: { num_groups?: number; scale?: number; init_type?: 'batch_average' | 'batch_average_once' | 'random' } | null
  declare readonly montecloraConfig: { num_samples?: number; use_entropy?: boolean; dirichlet_prior?: number; sample_scaler?: number; kl_loss_weight?: number; buffer_size?: number } | null
  declare readonly kasaConfig: { beta?: number; gamma?: number } | null

  constructor(fields: LoraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'LORA' }, raw))
  }
}

/** Householder reflections of what goes into a layer. Yuan et al. 2024 (arXiv 2405.17484). */
export interface HRAFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Number of reflections; with an even one the adapter starts as the identity. Default 8. */
  r?: number
  /** Makes the vectors orthogonal first (Gram–Schmidt). Default false. */
  applyGS?: boolean
  /** False starts with vectors that are all different, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Householder reflections of what goes into a layer. Yuan et al. 2024 (arXiv 2405.17484). */
export class HRAConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly applyGS: boolean
  declare readonly initWeights: boolean

  constructor(fields: HRAFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'HRA' }, raw))
  }
}

/** Learned vectors that multiply what layers give or take. Liu et al. 2022 (arXiv 2205.05638). */
export interface IA3Fields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Whether weights lie `[in, out]`; corrected to what the layers are. Default false. */
  fanInFanOut?: boolean
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Those of the targets whose inputs are multiplied: endings of names, or a regular expression for whole ones. Default: the model type's own (PEFT's table). */
  feedforwardModules?: string[] | string | null
  /** False starts with random vectors in place of ones. Default true. */
  initIa3Weights?: boolean
}
/** Learned vectors that multiply what layers give or take. Liu et al. 2022 (arXiv 2205.05638). */
export class IA3Config extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly feedforwardModules: string[] | string | null
  declare readonly initIa3Weights: boolean

  constructor(fields: IA3Fields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'IA3' }, raw))
  }
}

/** A Hadamard product of two low-rank updates. Hyeon-Woo et al. 2021 (arXiv 2108.06098). */
export interface LoHaFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Rank of both updates. Default 8. */
  r?: number
  /** The product is scaled by `alpha / r`. Default 8. */
  alpha?: number
  /** Chance that a row of the update is left out in training. Default 0.0. */
  rankDropout?: number
  /** Chance that a layer's update is left out in training. Default 0.0. */
  moduleDropout?: number
  /** Convolutions larger than 1×1 get cores of their kernel's size (proposition 3 of the paper). Default false. */
  useEffectiveConv2d?: boolean
  /** False starts with random matrices throughout, so that the adapter acts at once. Default true. */
  initWeights?: boolean
  rankPattern?: Record<string, number>
  alphaPattern?: Record<string, number>
}
/** A Hadamard product of two low-rank updates. Hyeon-Woo et al. 2021 (arXiv 2108.06098). */
export class LoHaConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly alpha: number
  declare readonly rankDropout: number
  declare readonly moduleDropout: number
  declare readonly useEffectiveConv2d: boolean
  declare readonly initWeights: boolean
  declare readonly rankPattern: Record<string, number>
  declare readonly alphaPattern: Record<string, number>

  constructor(fields: LoHaFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'LOHA' }, raw))
  }
}

/** Learned vectors between random projections that all layers share. Kopiczko et al. 2023 (arXiv 2310.11454). */
export interface VeraFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Whether weights lie `[in, out]`; corrected to what the layers are. Default false. */
  fanInFanOut?: boolean
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Rank of the projections. Default 256. */
  r?: number
  /** Seed of the projections, the same for all adapters of a model. Default 0. */
  projectionPrngKey?: number
  /** Whether checkpoints hold the projections; without them they are made again from the key. Default true. */
  saveProjection?: boolean
  /** Default 0.0. */
  veraDropout?: number
  /** Where the inner vector starts. Default 0.1. */
  dInitial?: number
  /** False starts with random vectors, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Learned vectors between random projections that all layers share. Kopiczko et al. 2023 (arXiv 2310.11454). */
export class VeraConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly projectionPrngKey: number
  declare readonly saveProjection: boolean
  declare readonly veraDropout: number
  declare readonly dInitial: number
  declare readonly initWeights: boolean

  constructor(fields: VeraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'VERA' }, raw))
  }
}

register({
  swift: {
    LORA: LoRAConfig,
    LONGLORA: LongLoRAConfig,
    ADAPTER: AdapterConfig,
    PROMPT: PromptConfig,
    SIDE: SideConfig,
    RESTUNING: ResTuningConfig,
    SCETUNING: SCETuningConfig,
    NEFTUNE: NEFTuneConfig,
    LLAMAPRO: LLaMAProConfig,
    PART: PartConfig,
    REFT: ReftConfig,
  },
  peft: {
    LORA: LoraConfig,
    HRA: HRAConfig,
    IA3: IA3Config,
    LOHA: LoHaConfig,
    VERA: VeraConfig,
  },
  names: { applyGS: 'apply_GS' },
})
