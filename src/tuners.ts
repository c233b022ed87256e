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
  /** Tokens whose rows of the embedding train, too (of the modules whose names end so, where they are by name). */
  trainableTokenIndices?: number[] | Record<string, number[]> | null
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
  declare readonly trainableTokenIndices: number[] | Record<string, number[]> | null
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
  /** Tokens whose rows of the embedding train, too (of the modules whose names end so, where they are by name). */
  trainableTokenIndices?: number[] | Record<string, number[]> | null
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
  declare readonly trainableTokenIndices: number[] | Record<string, number[]> | null
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
  /** Tokens whose rows of the embedding train, too (of the modules whose names end so, where they are by name). */
  trainableTokenIndices?: number[] | Record<string, number[]> | null
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
  cordaConfig?: { corda_method?: 'ipm' | 'kpm'; verbose?: boolean; prune_temporary_fields?: boolean } | null
  /** On packed weights A reads means over groups of inputs. Xu et al. 2023 (arXiv 2309.14717). Default false. */
  useQalora?: boolean
  /** Inputs of a group. Default 16. */
  qaloraGroupSize?: number
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
  declare readonly trainableTokenIndices: number[] | Record<string, number[]> | null
  declare readonly lorapLrRatio: number | null
  declare readonly aloraInvocationTokens: number[] | null
  declare readonly targetParameters: string[] | null
  declare readonly layerReplication: number[][] | null
  declare readonly useBdlora: { target_modules_bd_a?: string[] | null; target_modules_bd_b?: string[] | null; nblocks?: number; match_strict?: boolean } | null
  declare readonly loftqConfig: { loftq_bits?: number; loftq_iter?: number }
  declare readonly evaConfig: { rho?: number; tau?: number; use_label_mask?: boolean; label_mask_value?: number; whiten?: boolean; adjust_scaling_factors?: boolean } | null
  declare readonly cordaConfig: { corda_method?: 'ipm' | 'kpm'; verbose?: boolean; prune_temporary_fields?: boolean } | null
  declare readonly useQalora: boolean
  declare readonly qaloraGroupSize: number
  declare readonly arrowConfig: { top_k?: number; router_temperature?: number; use_gks?: boolean; task_adapter_names?: string[] | null; gks_adapter_names?: string[] | null; rng_seed?: number | null } | null
  declare readonly loraGaConfig: { direction?: 'ArBr' | 'A2rBr' | 'ArB2r' | 'random'; scale?: 'stable' | 'weight_svd' | 'gd_scale' | 'unit'; stable_gamma?: number } | null
  declare readonly veloraConfig: { num_groups?: number; scale?: number; init_type?: 'batch_average' | 'batch_average_once' | 'random' } | null
  declare readonly montecloraConfig: { num_samples?: number; use_entropy?: boolean; dirichlet_prior?: number; sample_scaler?: number; kl_loss_weight?: number; buffer_size?: number } | null
  declare readonly kasaConfig: { beta?: number; gamma?: number } | null

  constructor(fields: LoraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'LORA' }, raw))
  }
}

/** Some entries of an update's Fourier spectrum. Gao et al. 2024 (arXiv 2405.03003). */
export interface FourierFTFields {
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
  /** Number of entries of the spectrum that train in each layer. Default 1000. */
  nFrequency?: number
  /** The transform is scaled by it. Default 150.0. */
  scaling?: number
  /** Seed of the entries' places, which checkpoints do not hold. Default 777. */
  randomLocSeed?: number
  /** Numbers of entries by patterns that match the ends of module names. */
  nFrequencyPattern?: Record<string, number>
  /** True starts with zeros, so that the adapter begins as nothing. Default false. */
  initWeights?: boolean
}
/** Some entries of an update's Fourier spectrum. Gao et al. 2024 (arXiv 2405.03003). */
export class FourierFTConfig extends PeftConfig {
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
  declare readonly nFrequency: number
  declare readonly scaling: number
  declare readonly randomLocSeed: number
  declare readonly nFrequencyPattern: Record<string, number>
  declare readonly initWeights: boolean

  constructor(fields: FourierFTFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'FOURIERFT' }, raw))
  }
}

/** Coordinates of the weights in bases that layers of one kind share. */
export interface FrodFields {
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
  /** Seed of which coordinates train beside the diagonal, the same for all adapters of a model. Default 0. */
  projectionPrngKey?: number
  /** Whether checkpoints hold the bases; without them they are computed again from the base model. Default true. */
  saveProjection?: boolean
  /** Default 0.0. */
  frodDropout?: number
  /** False starts with random coordinates, so that the adapter acts at once. Default true. */
  initWeights?: boolean
  /** Share of the coordinates beside the diagonal that train. Default 0.01. */
  sparseRate?: number
  /** Keeps the inverses stable of which the bases are made. Default 0.001. */
  regularizationAlpha?: number
  /** Shows nothing here. Default true. */
  progressbar?: boolean
  /** On the CPU, where it has no effect. Default false. */
  runtimeOffloadBaseWeight?: boolean
}
/** Coordinates of the weights in bases that layers of one kind share. */
export class FrodConfig extends PeftConfig {
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
  declare readonly projectionPrngKey: number
  declare readonly saveProjection: boolean
  declare readonly frodDropout: number
  declare readonly initWeights: boolean
  declare readonly sparseRate: number
  declare readonly regularizationAlpha: number
  declare readonly progressbar: boolean
  declare readonly runtimeOffloadBaseWeight: boolean

  constructor(fields: FrodFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'FROD' }, raw))
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

/** Low-rank updates whose outer factors are mixed, by what goes in, of some that layers share. Zhong et al. 2024 (arXiv 2407.09946). */
export interface LilyFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Rank of the updates. Default 32. */
  r?: number
  /** How many layers of a kind in a row share one A. Default 1. */
  strideA?: number
  /** How many Bs all layers of a kind share. Default 2. */
  numB?: number
  /** The update is scaled by it. Default 1.0. */
  scaling?: number
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Layers of one suffix and size share matrices. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** False starts with random Bs, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Low-rank updates whose outer factors are mixed, by what goes in, of some that layers share. Zhong et al. 2024 (arXiv 2407.09946). */
export class LilyConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly excludeModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly strideA: number
  declare readonly numB: number
  declare readonly scaling: number
  declare readonly targetModules: string[] | string | null
  declare readonly initWeights: boolean

  constructor(fields: LilyFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'LILY' }, raw))
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

/** VeRA whose inner values are drawn around a learned mean. */
export interface PveraFields {
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
  /** Rank of the projections; the inner one has twice as many rows, for means and for variances. Default 256. */
  r?: number
  /** Seed of the projections, the same for all adapters of a model. Default 0. */
  projectionPrngKey?: number
  /** Whether checkpoints hold the projections; without them they are made again from the key. Default true. */
  saveProjection?: boolean
  /** Default 0.0. */
  pveraDropout?: number
  /** Where the inner vector starts. Default 0.1. */
  dInitial?: number
  /** False starts with random vectors, so that the adapter acts at once. Default true. */
  initWeights?: boolean
  /** Draws outside of training, too, where the mean is taken otherwise. Default false. */
  sampleAtInference?: boolean
  /** Seed of what is drawn in passes, for each layer. Default: the pass's own random numbers. */
  generatorSeed?: number | null
}
/** VeRA whose inner values are drawn around a learned mean. */
export class PveraConfig extends PeftConfig {
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
  declare readonly pveraDropout: number
  declare readonly dInitial: number
  declare readonly initWeights: boolean
  declare readonly sampleAtInference: boolean
  declare readonly generatorSeed: number | null

  constructor(fields: PveraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'PVERA' }, raw))
  }
}

/** Updates of full rank: learned weights of random bases that all layers share. Albert et al. 2025 (arXiv 2502.00987). */
export interface RandLoraFields {
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
  /** Rank of each basis; a layer has as many as its smaller side holds. Default 32. */
  r?: number
  /** Seed of the bases, the same for all adapters of a model. Default 0. */
  projectionPrngKey?: number
  /** Whether checkpoints hold the bases; without them they are made again from the key. Default true. */
  saveProjection?: boolean
  /** Bases of −1, 0 and 1, two thirds of them zero. Default false. */
  sparse?: boolean
  /** The same with √d − 1 zeros for each other value. Default false. */
  verySparse?: boolean
  /** Default 0.0. */
  randloraDropout?: number
  /** The update is scaled by `randlora_alpha / r`. Default 640.0. */
  randloraAlpha?: number
  /** False starts with random weights, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Updates of full rank: learned weights of random bases that all layers share. Albert et al. 2025 (arXiv 2502.00987). */
export class RandLoraConfig extends PeftConfig {
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
  declare readonly sparse: boolean
  declare readonly verySparse: boolean
  declare readonly randloraDropout: number
  declare readonly randloraAlpha: number
  declare readonly initWeights: boolean

  constructor(fields: RandLoraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'RANDLORA' }, raw))
  }
}

/** Some entries of the weights themselves. Bhardwaj et al. 2024 (arXiv 2406.13175). */
export interface ShiraFields {
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
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** `r (in + out)` entries train, as many as a LoRA of this rank has. Default 32. */
  r?: number
  /** `random`; the places of others come from checkpoints alone. Default 'random'. */
  maskType?: string
  /** Seed of the entries' places. Default: PyTorch's own. */
  randomSeed?: number | null
  /** False starts with random values, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Some entries of the weights themselves. Bhardwaj et al. 2024 (arXiv 2406.13175). */
export class ShiraConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly maskType: string
  declare readonly randomSeed: number | null
  declare readonly initWeights: boolean

  constructor(fields: ShiraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'SHIRA' }, raw))
  }
}

/** The largest entries of the weights themselves, and a LoRA beside them. Super-Tuning and Supra (arXiv 2607.09287). */
export interface SupertuningFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Share of a weight's entries that stay as they are. Default 0.99. */
  sparsity?: number
  /** True trains the entries of largest magnitude, false those of smallest. Default true. */
  selectTop?: boolean
  /** Rank of the LoRA beside them (Supra). */
  r?: number | null
  /** The LoRA is scaled by `lora_alpha / r`. Default: `2 r`. */
  loraAlpha?: number | null
  /** Default 0.0. */
  loraDropout?: number
  /** False starts with random values throughout, so that the adapter acts at once. Default true. */
  initWeights?: boolean
  /** Whether checkpoints hold the entries' places; without them they are found again in the base, which must be the same. Default true. */
  savePrecomputedIndices?: boolean
}
/** The largest entries of the weights themselves, and a LoRA beside them. Super-Tuning and Supra (arXiv 2607.09287). */
export class SupertuningConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly sparsity: number
  declare readonly selectTop: boolean
  declare readonly r: number | null
  declare readonly loraAlpha: number | null
  declare readonly loraDropout: number
  declare readonly initWeights: boolean
  declare readonly savePrecomputedIndices: boolean

  constructor(fields: SupertuningFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'SUPERTUNING' }, raw))
  }
}

/** Low-rank updates of clusters of the weight's rows, inside of its principal subspace. Zheng et al. 2025 (NeurIPS). */
export interface AdamssFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Dimensions of the principal subspace. Default 100. */
  r?: number
  /** Clusters of rows. Default 5. */
  numSubspaces?: number
  /** Rank of a cluster's update. Default 1. */
  subspaceRank?: number
  /** 'orthogonal' starts with B zero; false or null at random, so that the adapter acts at once. Default 'orthogonal'. */
  initWeights?: 'orthogonal' | false | null
  /** Training clusters by their importance is not supported. Default false. */
  useAsa?: boolean
  /** Default 50. */
  asaTargetSubspaces?: number
  /** Default 50. */
  initWarmup?: number
  /** Default 1000. */
  finalWarmup?: number
  /** Default 100. */
  maskInterval?: number
  /** Default 0.85. */
  asaImportanceBeta?: number
  /** Default 0.85. */
  asaUncertaintyBeta?: number
  /** Default 3.0. */
  asaScheduleExponent?: number
  /** Takes a cluster's rank from the singular values of its rows. Default false. */
  useDynamicRank?: boolean
  /** Share of the largest singular value that counts, with `useDynamicRank`. Default 0.1. */
  svdThreshold?: number
  /** Seed of the principal subspace. Default 0. */
  randomSeed?: number
}
/** Low-rank updates of clusters of the weight's rows, inside of its principal subspace. Zheng et al. 2025 (NeurIPS). */
export class AdamssConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly numSubspaces: number
  declare readonly subspaceRank: number
  declare readonly initWeights: 'orthogonal' | false | null
  declare readonly useAsa: boolean
  declare readonly asaTargetSubspaces: number
  declare readonly initWarmup: number
  declare readonly finalWarmup: number
  declare readonly maskInterval: number
  declare readonly asaImportanceBeta: number
  declare readonly asaUncertaintyBeta: number
  declare readonly asaScheduleExponent: number
  declare readonly useDynamicRank: boolean
  declare readonly svdThreshold: number
  declare readonly randomSeed: number

  constructor(fields: AdamssFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'ADAMSS' }, raw))
  }
}

/** A bias that is added to what layers give (arXiv 2509.15974). */
export interface BeftFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** False starts with random biases, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** A bias that is added to what layers give (arXiv 2509.15974). */
export class BeftConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly initWeights: boolean

  constructor(fields: BeftFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'BEFT' }, raw))
  }
}

/** Circulant blocks, each made of one vector. Chen et al. 2024 (arXiv 2407.19342). */
export interface C3AFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Size of a block, which divides the layers' inputs and outputs. Default 256. */
  blockSize?: number
  /** Sizes by patterns that match the ends of module names. */
  blockSizePattern?: Record<string, number>
  /** How the vectors start: true is zero, false 'xavier_uniform'. Default 'xavier_uniform'. */
  initWeights?: true | false | 'gaussian' | 'kaiming_uniform' | 'xavier_uniform'
}
/** Circulant blocks, each made of one vector. Chen et al. 2024 (arXiv 2407.19342). */
export class C3AConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly blockSize: number
  declare readonly blockSizePattern: Record<string, number>
  declare readonly initWeights: true | false | 'gaussian' | 'kaiming_uniform' | 'xavier_uniform'

  constructor(fields: C3AFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'C3A' }, raw))
  }
}

/** Takes a subspace out of the weight and puts an update there (Decompositional Efficient Fine-Tuning, 2025). */
export interface DeftFields {
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
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Dimensions of the subspace; at most the layer's outputs. Default 8. */
  r?: number
  /** How the subspace's projection is made of the trained matrix. Default 'relu'. */
  decompositionMethod?: 'relu' | 'qr'
  /** Scale of a random start (`initWeights: false`). Default 1.0. */
  initScale?: number
  /** The update is scaled by `alpha / r`; absent or 0: not scaled. */
  alpha?: number | null
  /** Only takes the subspace out, without an update. Default false. */
  para?: boolean
  /** Dropout of what the update gets. Default 0.0. */
  deftDropout?: number
  /** False starts with a random update, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Takes a subspace out of the weight and puts an update there (Decompositional Efficient Fine-Tuning, 2025). */
export class DeftConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly decompositionMethod: 'relu' | 'qr'
  declare readonly initScale: number
  declare readonly alpha: number | null
  declare readonly para: boolean
  declare readonly deftDropout: number
  declare readonly initWeights: boolean

  constructor(fields: DeftFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'DEFT' }, raw))
  }
}

/** Low-rank updates of bounded norm. Bini et al. 2025 (arXiv 2503.18225). */
export interface DeloraFields {
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
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Rank of the update. Default 8. */
  r?: number
  /** Where the bound of the update's norm starts; it trains. Default 15.0. */
  deloraLambda?: number
  /** Dropout of what the update gets. Default 0.0. */
  moduleDropout?: number
  /** False starts with random matrices, so that the adapter acts at once. Default true. */
  initWeights?: boolean
  rankPattern?: Record<string, number>
  /** Bounds by patterns that match the ends of module names. */
  lambdaPattern?: Record<string, number>
}
/** Low-rank updates of bounded norm. Bini et al. 2025 (arXiv 2503.18225). */
export class DeloraConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly bias: string
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly deloraLambda: number
  declare readonly moduleDropout: number
  declare readonly initWeights: boolean
  declare readonly rankPattern: Record<string, number>
  declare readonly lambdaPattern: Record<string, number>

  constructor(fields: DeloraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'DELORA' }, raw))
  }
}

/** Scales and shifts of weight and bias, each in one of several forms. Chavan et al. 2023 (arXiv 2306.07967). */
export interface GloraFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Rank of what has the form 'lora'. Default 8. */
  r?: number
  /** Form of the weight's scale A and shift B. Default 'lora'. */
  configAB?: 'lora' | 'vector' | 'constant' | 'none'
  /** Form of C, which the weight maps to a shift of the bias. Default 'lora'. */
  configC?: 'lora' | 'vector' | 'none'
  /** Form of the bias's scale D and shift E. Default 'constant'. */
  configDE?: 'vector' | 'constant' | 'none'
  /** False starts with random values, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Scales and shifts of weight and bias, each in one of several forms. Chavan et al. 2023 (arXiv 2306.07967). */
export class GloraConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly configAB: 'lora' | 'vector' | 'constant' | 'none'
  declare readonly configC: 'lora' | 'vector' | 'none'
  declare readonly configDE: 'vector' | 'constant' | 'none'
  declare readonly initWeights: boolean

  constructor(fields: GloraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'GLORA' }, raw))
  }
}

/** Low-rank updates of blocks of the weight. Jung et al. 2025 (arXiv 2505.20355). */
export interface GraloraFields {
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
  /** Rank of a column of blocks; a block has a `graloraK`th of it. Default 32. */
  r?: number
  /** Rank of an update of the whole weight beside the blocks'. Default 0. */
  hybridR?: number
  /** The update is scaled by `alpha / (r + hybridR)`. Default 64. */
  alpha?: number
  /** Default 0.0. */
  graloraDropout?: number
  /** Blocks on a side. Default 2. */
  graloraK?: number
  /** False starts with random matrices throughout, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Low-rank updates of blocks of the weight. Jung et al. 2025 (arXiv 2505.20355). */
export class GraloraConfig extends PeftConfig {
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
  declare readonly hybridR: number
  declare readonly alpha: number
  declare readonly graloraDropout: number
  declare readonly graloraK: number
  declare readonly initWeights: boolean

  constructor(fields: GraloraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'GRALORA' }, raw))
  }
}

/** A low-rank matrix that multiplies the weight element by element. Huang et al. 2025 (ICLR). */
export interface HiraFields {
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
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Rank of what multiplies the weight. Default 32. */
  r?: number
  /** Default 0.0. */
  hiraDropout?: number
  /** True starts with B zero, 'gaussian' also with A normal, false with random matrices, so that the adapter acts at once. Default true. */
  initWeights?: true | false | 'gaussian' | null
  /** Ranks by patterns that match the ends of module names; as in PEFT 0.21 only those of a layer's second adapter and later ones. */
  rankPattern?: Record<string, number>
}
/** A low-rank matrix that multiplies the weight element by element. Huang et al. 2025 (ICLR). */
export class HiraConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly hiraDropout: number
  declare readonly initWeights: true | false | 'gaussian' | null
  declare readonly rankPattern: Record<string, number>

  constructor(fields: HiraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'HIRA' }, raw))
  }
}

/** A Kronecker product of two small matrices. Yeh et al. 2023 (arXiv 2309.14859). */
export interface LoKrFields {
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
  /** Rank of what is factored. Default 8. */
  r?: number
  /** The product is scaled by `alpha / r`. Default 8. */
  alpha?: number
  /** Chance that an output of the update is left out in training. Default 0.0. */
  rankDropout?: number
  /** Chance that a layer's update is left out in training. Default 0.0. */
  moduleDropout?: number
  /** Convolutions larger than 1×1 get a core of their kernel's size (proposition 3 of FedPara). Default false. */
  useEffectiveConv2d?: boolean
  /** Factors the left matrix, too, where it is larger than twice the rank. Default false. */
  decomposeBoth?: boolean
  /** Size of the left matrix, or the most that it may have; -1: as near to a square as the layer's sizes allow. Default -1. */
  decomposeFactor?: number
  /** Scales the outputs that `rankDropout` leaves. Default false. */
  rankDropoutScale?: boolean
  /** How the matrices start: true (the left one zero), 'lycoris' (the right one zero), false (all random, so that the adapter acts at once). Default true. */
  initWeights?: true | 'lycoris' | false
  rankPattern?: Record<string, number>
  alphaPattern?: Record<string, number>
}
/** A Kronecker product of two small matrices. Yeh et al. 2023 (arXiv 2309.14859). */
export class LoKrConfig extends PeftConfig {
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
  declare readonly decomposeBoth: boolean
  declare readonly decomposeFactor: number
  declare readonly rankDropoutScale: boolean
  declare readonly initWeights: true | 'lycoris' | false
  declare readonly rankPattern: Record<string, number>
  declare readonly alphaPattern: Record<string, number>

  constructor(fields: LoKrFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'LOKR' }, raw))
  }
}

/** A small matrix that all shards of a weight share. Kang and Yin 2024 (arXiv 2409.15371). */
export interface MissFields {
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
  /** Inputs of a shard. Default 64. */
  r?: number
  /** Default 0.0. */
  missDropout?: number
  /** Columns of the matrix with `initWeights: 'mini'`, which repeat over the outputs. Default 1. */
  miniR?: number
  /** True starts at zero, false at random, so that the adapter acts at once; 'bat' multiplies shards by the matrix, 'mini' repeats it. Default true. */
  initWeights?: true | false | 'bat' | 'mini'
}
/** A small matrix that all shards of a weight share. Kang and Yin 2024 (arXiv 2409.15371). */
export class MissConfig extends PeftConfig {
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
  declare readonly missDropout: number
  declare readonly miniR: number
  declare readonly initWeights: true | false | 'bat' | 'mini'

  constructor(fields: MissFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'MISS' }, raw))
  }
}

/** A small network that makes the update of the weight itself. Zhong et al. 2024 (arXiv 2410.01870). */
export interface PeanutFields {
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
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Width of the network. Default 32. */
  r?: number
  /** Pairs of inner layers, the second of each with the first one's input added. Default 0. */
  depth?: number
  /** Activation, by its name in transformers. Default 'relu'. */
  actFn?: string
  /** Scale of the update. Default 1.0. */
  scaling?: number
  /** False starts with a random last layer, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** A small network that makes the update of the weight itself. Zhong et al. 2024 (arXiv 2410.01870). */
export class PeanutConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly depth: number
  declare readonly actFn: string
  declare readonly scaling: number
  declare readonly initWeights: boolean

  constructor(fields: PeanutFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'PEANUT' }, raw))
  }
}

/** A rotation of the weight inside of its own principal subspace. Wu et al. 2025 (arXiv 2505.11235). */
export interface PsoftFields {
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
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Dimensions of the subspace. Default 32. */
  r?: number
  /** The update is scaled by `psoftAlpha / r`. Default 32. */
  psoftAlpha?: number
  /** Default 0.0. */
  psoftDropout?: number
  /** Where the singular values go: into B, or as roots into both. Default 'psoft_init'. */
  abSvdInit?: 'psoft_init' | 'pissa_init'
  /** The whole decomposition, or the principal part of it from a random start. Default 'full'. */
  psoftSvd?: 'full' | 'lowrank'
  /** Iterations of 'lowrank'. Default 10. */
  psoftSvdLowrankNiter?: number
  /** Seed of 'lowrank'. Default 0. */
  randomSeed?: number
  /** Keeps the subspace's map a rotation; false trains all of it. Default true. */
  psoftOrth?: boolean
  /** Trains a scale of each dimension that comes out of the map. Default true. */
  psoftMagB?: boolean
  /** Trains a scale of each dimension that goes into it. Default true. */
  psoftMagA?: boolean
  /** Computes the rotation as a series of `numCayleyNeumannTerms`. Default false. */
  useCayleyNeumann?: boolean
  /** Default 5. */
  numCayleyNeumannTerms?: number
  /** Bound of the series' argument, between 0 and 1. */
  cayleyNeumannEps?: number | null
  /** False starts with random maps, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** A rotation of the weight inside of its own principal subspace. Wu et al. 2025 (arXiv 2505.11235). */
export class PsoftConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly r: number
  declare readonly psoftAlpha: number
  declare readonly psoftDropout: number
  declare readonly abSvdInit: 'psoft_init' | 'pissa_init'
  declare readonly psoftSvd: 'full' | 'lowrank'
  declare readonly psoftSvdLowrankNiter: number
  declare readonly randomSeed: number
  declare readonly psoftOrth: boolean
  declare readonly psoftMagB: boolean
  declare readonly psoftMagA: boolean
  declare readonly useCayleyNeumann: boolean
  declare readonly numCayleyNeumannTerms: number
  declare readonly cayleyNeumannEps: number | null
  declare readonly initWeights: boolean

  constructor(fields: PsoftFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'PSOFT' }, raw))
  }
}

/** Rotates and scales pairs of what layers give. Liao et al. 2024 (arXiv 2409.00119). */
export interface RoadFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** How many values turn a pair: one angle and one scale ('road_1'), those of each output ('road_2'), or each output's own for both of its terms ('road_4'). Default 'road_1'. */
  variant?: 'road_1' | 'road_2' | 'road_4'
  /** Outputs of a group, whose halves are paired: an even number that divides the layers' outputs. Default 64. */
  groupSize?: number
  /** False starts with random rotations, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Rotates and scales pairs of what layers give. Liao et al. 2024 (arXiv 2409.00119). */
export class RoadConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly variant: 'road_1' | 'road_2' | 'road_4'
  declare readonly groupSize: number
  declare readonly initWeights: boolean

  constructor(fields: RoadFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'ROAD' }, raw))
  }
}

/** A small network beside a frozen decoder: each block takes in what sets its input apart from the network's state, and moves the state on. Li et al. 2026 (arXiv 2604.19254). */
export interface ShadowFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** The same for modules that stay as they are. */
  excludeModules?: string[] | string | null
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Suffixes of blocks' names, or a regular expression for whole names. They must be neighbours. Default: every block. */
  targetModules?: string[] | string | null
  /** Rank of what goes into a block's input. Default 8. */
  r?: number
  /** How much of it goes in. Default 0.1. */
  shadowAlpha?: number
  /** Of the difference between hidden states and shadow states. Default 0.2. */
  shadowDropout?: number
  /** False starts with random matrices throughout, so that the adapter acts at once. Default true. */
  initWeights?: boolean
  /** 'mirror' makes a fresh network of the model's own family; anything else is the folder of a trained one. Default 'mirror'. */
  shadowModel?: string
  /** Blocks of a fresh network; by default 1. */
  shadowNumHiddenLayers?: number | null
  /** Its width; by default the model's, as with the fields that follow. */
  shadowHiddenSize?: number | null
  shadowNumAttentionHeads?: number | null
  shadowIntermediateSize?: number | null
  /** Feeds a fresh network of the model's width with the model's own embeddings. Default true. */
  shareEmbeddings?: boolean
  /** Inner width of the networks that move the state on; by default `r`. */
  updateHiddenSize?: number | null
  /** How much the loss counts that the small network has by itself, in passes with labels. Default 0.05. */
  auxiliaryLossWeight?: number
}
/** A small network beside a frozen decoder: each block takes in what sets its input apart from the network's state, and moves the state on. Li et al. 2026 (arXiv 2604.19254). */
export class ShadowConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly excludeModules: string[] | string | null
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly targetModules: string[] | string | null
  declare readonly r: number
  declare readonly shadowAlpha: number
  declare readonly shadowDropout: number
  declare readonly initWeights: boolean
  declare readonly shadowModel: string
  declare readonly shadowNumHiddenLayers: number | null
  declare readonly shadowHiddenSize: number | null
  declare readonly shadowNumAttentionHeads: number | null
  declare readonly shadowIntermediateSize: number | null
  declare readonly shareEmbeddings: boolean
  declare readonly updateHiddenSize: number | null
  declare readonly auxiliaryLossWeight: number

  constructor(fields: ShadowFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'SHADOW' }, raw))
  }
}

/** A few numbers that weigh random mixtures of a weight's largest singular directions. */
export interface TinyLoraFields {
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
  /** Number of singular directions; a layer has at most those that its weight has. Default 2. */
  r?: number
  /** Length of each vector, which is all that trains. Default 64. */
  u?: number
  /** Share of the layers that have no vector of their own: at 1 all share one. Default 0.0. */
  weightTying?: number
  /** Seed of the mixtures. Default 42. */
  projectionSeed?: number
  /** Whether checkpoints hold the mixtures; without them they are made again from the seed. Default true. */
  saveProjection?: boolean
  /** Vectors that start uniform do so within it. Default 0.02. */
  initVBound?: number
  /** Default 0.0. */
  tinyloraDropout?: number
  /** True starts with zeros, so that the adapter begins as nothing; `uniform` with random numbers. Default true. */
  initWeights?: boolean | 'uniform'
}
/** A few numbers that weigh random mixtures of a weight's largest singular directions. */
export class TinyLoraConfig extends PeftConfig {
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
  declare readonly u: number
  declare readonly weightTying: number
  declare readonly projectionSeed: number
  declare readonly saveProjection: boolean
  declare readonly initVBound: number
  declare readonly tinyloraDropout: number
  declare readonly initWeights: boolean | 'uniform'

  constructor(fields: TinyLoraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'TINYLORA' }, raw))
  }
}

/** A LoRA of all layers whose entries are those of one short vector. Li et al. 2025 (arXiv 2506.00799). */
export interface UniLoraFields {
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
  /** Rank of the update. Default 4. */
  r?: number
  /** Seed of where each entry of the matrices is in the vector. Default 42. */
  projSeed?: number
  /** Length of the vector, which is all that trains. Default 256. */
  thetaDLength?: number
  /** Default 0.0. */
  uniloraDropout?: number
  /** The vector starts uniform within it. Default 0.02. */
  initThetaDBound?: number
  /** False starts with a standard normal vector. Default true. */
  initWeights?: boolean
  /** Whether checkpoints hold where the entries are; without it they are found again from the seed. Default false. */
  saveIndices?: boolean
}
/** A LoRA of all layers whose entries are those of one short vector. Li et al. 2025 (arXiv 2506.00799). */
export class UniLoraConfig extends PeftConfig {
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
  declare readonly projSeed: number
  declare readonly thetaDLength: number
  declare readonly uniloraDropout: number
  declare readonly initThetaDBound: number
  declare readonly initWeights: boolean
  declare readonly saveIndices: boolean

  constructor(fields: UniLoraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'UNILORA' }, raw))
  }
}

/** LoRA mixed of few vectors from a bank that all layers share. Li et al. 2024 (arXiv 2405.15179). */
export interface VBLoRAFields {
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
  /** Rank of the update. Default 4. */
  r?: number
  /** Vectors of the bank. Default 256. */
  numVectors?: number
  /** Their length, which inputs and outputs of all layers are multiples of. Default 256. */
  vectorLength?: number
  /** How many vectors each part of a matrix is mixed of. Default 2. */
  topk?: number
  /** Checkpoints hold the chosen vectors and their shares in place of all logits: for inference only. Default false. */
  saveOnlyTopkWeights?: boolean
  /** Default 0.0. */
  vbloraDropout?: number
  /** The bank starts uniform within it. Default 0.02. */
  initVectorBankBound?: number
  /** Standard deviation of the first logits. Default 0.1. */
  initLogitsStd?: number
}
/** LoRA mixed of few vectors from a bank that all layers share. Li et al. 2024 (arXiv 2405.15179). */
export class VBLoRAConfig extends PeftConfig {
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
  declare readonly numVectors: number
  declare readonly vectorLength: number
  declare readonly topk: number
  declare readonly saveOnlyTopkWeights: boolean
  declare readonly vbloraDropout: number
  declare readonly initVectorBankBound: number
  declare readonly initLogitsStd: number

  constructor(fields: VBLoRAFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'VBLORA' }, raw))
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

/** Attention to trained tokens beside a layer's own, behind a gate that starts at zero (LLaMA-Adapter). Zhang et al. 2023 (arXiv 2303.16199). */
export interface AdaptionPromptFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** What attention modules are called; by default as the model type has it. */
  targetModules?: string | null
  /** Trained tokens per layer. */
  adapterLen: number
  /** How many of the last layers get them. */
  adapterLayers: number
}
/** Attention to trained tokens beside a layer's own, behind a gate that starts at zero (LLaMA-Adapter). Zhang et al. 2023 (arXiv 2303.16199). */
export class AdaptionPromptConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string | null
  declare readonly adapterLen: number
  declare readonly adapterLayers: number

  constructor(fields: AdaptionPromptFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'ADAPTION_PROMPT' }, raw))
  }
}

/** LoRAs as skills, which a router mixes for each task; passes take `taskIds`. Ponti et al. 2022 (arXiv 2202.13914). */
export interface PolyFields {
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
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Rank of a skill. Default 8. */
  r?: number
  /** Default 'poly'. */
  polyType?: 'poly'
  /** Default 1. */
  nTasks?: number
  /** Default 4. */
  nSkills?: number
  /** Parts of the features that are routed by themselves. Default 1. */
  nSplits?: number
  /** False starts with random matrices throughout, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** LoRAs as skills, which a router mixes for each task; passes take `taskIds`. Ponti et al. 2022 (arXiv 2202.13914). */
export class PolyConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly polyType: 'poly'
  declare readonly nTasks: number
  declare readonly nSkills: number
  declare readonly nSplits: number
  declare readonly initWeights: boolean

  constructor(fields: PolyFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'POLY' }, raw))
  }
}

/** LoRA experts, which a classifier of hidden states weighs for each token and layer. Buehler and Buehler 2024 (arXiv 2402.07148). */
export interface XLoraFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** The model's; by default as it is. */
  hiddenSize?: number | null
  /** Folders of the LoRA experts, by their names: they are loaded with the adapter, and paths may be relative to its folder. */
  adapters: unknown
  /** Scalings of a token sum to one. Default true. */
  enableSoftmax?: boolean
  /** The same over the chosen experts alone, with `topKLora`. Default false. */
  enableSoftmaxTopk?: boolean
  /** Scalings of each layer's own. Default false. */
  layerwiseScalings?: boolean
  /** Linear layers of the classifier. Default 1. */
  xloraDepth?: number
  /** Its inner width. Default 2048. */
  xloraSize?: number
  /** Default 0.2. */
  xloraDropoutP?: number
  /** Trains the experts, too. Default false. */
  useTrainableAdapters?: boolean
  /** Default 1.0. */
  softmaxTemperature?: number
  /** Only the experts with the largest scalings count. */
  topKLora?: number | null
  /** What every expert counts in the pass that the classifier looks at. Default 0.0. */
  scalingPassValue?: number
  /** Multiplies what the experts add. Default 1.0. */
  globalScalingWeight?: number
}
/** LoRA experts, which a classifier of hidden states weighs for each token and layer. Buehler and Buehler 2024 (arXiv 2402.07148). */
export class XLoraConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly hiddenSize: number | null
  declare readonly adapters: unknown
  declare readonly enableSoftmax: boolean
  declare readonly enableSoftmaxTopk: boolean
  declare readonly layerwiseScalings: boolean
  declare readonly xloraDepth: number
  declare readonly xloraSize: number
  declare readonly xloraDropoutP: number
  declare readonly useTrainableAdapters: boolean
  declare readonly softmaxTemperature: number
  declare readonly topKLora: number | null
  declare readonly scalingPassValue: number
  declare readonly globalScalingWeight: number

  constructor(fields: XLoraFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'XLORA' }, raw))
  }
}

/** Trained embeddings before the sequence. Lester et al. 2021 (arXiv 2104.08691). */
export interface PromptTuningFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Width of a token; by default the model's. */
  tokenDim?: number | null
  /** 2 for encoder-decoders, otherwise 1; by default what the model is. */
  numTransformerSubmodules?: number | null
  /** By default the model's. */
  numAttentionHeads?: number | null
  /** By default the model's. */
  numLayers?: number | null
  /** How many virtual tokens stand before the sequence. */
  numVirtualTokens: number
  /** `'RANDOM'`, `'SAMPLE_VOCAB'`: embeddings of random words of the model, `'TEXT'`: those of a text. Default 'RANDOM'. */
  promptTuningInit?: 'TEXT' | 'SAMPLE_VOCAB' | 'RANDOM'
  /** The text, for `'TEXT'`. */
  promptTuningInitText?: string | null
  /** Whose tokenizer reads the text, for `'TEXT'`. */
  tokenizerNameOrPath?: string | null
  /** For Python's tokenizer. */
  tokenizerKwargs?: unknown | null
}
/** Trained embeddings before the sequence. Lester et al. 2021 (arXiv 2104.08691). */
export class PromptTuningConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly tokenDim: number | null
  declare readonly numTransformerSubmodules: number | null
  declare readonly numAttentionHeads: number | null
  declare readonly numLayers: number | null
  declare readonly numVirtualTokens: number
  declare readonly promptTuningInit: 'TEXT' | 'SAMPLE_VOCAB' | 'RANDOM'
  declare readonly promptTuningInitText: string | null
  declare readonly tokenizerNameOrPath: string | null
  declare readonly tokenizerKwargs: unknown | null

  constructor(fields: PromptTuningFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'PROMPT_TUNING' }, raw))
  }
}

/** Prompts that all tasks share, times a low-rank matrix of each task's own; passes take `taskIds`. Wang et al. 2023 (arXiv 2303.02861). */
export interface MultitaskPromptTuningFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Width of a token; by default the model's. */
  tokenDim?: number | null
  /** 2 for encoder-decoders, otherwise 1; by default what the model is. */
  numTransformerSubmodules?: number | null
  /** By default the model's. */
  numAttentionHeads?: number | null
  /** By default the model's. */
  numLayers?: number | null
  /** How many virtual tokens stand before the sequence. */
  numVirtualTokens: number
  /** `'RANDOM'`, `'TEXT'`, or from a source's checkpoint: `'AVERAGE_SOURCE_TASKS'`, `'EXACT_SOURCE_TASK'`, `'ONLY_SOURCE_SHARED'`. Default 'RANDOM'. */
  promptTuningInit?: 'TEXT' | 'RANDOM' | 'AVERAGE_SOURCE_TASKS' | 'EXACT_SOURCE_TASK' | 'ONLY_SOURCE_SHARED'
  /** The text, for `'TEXT'`. */
  promptTuningInitText?: string | null
  /** Whose tokenizer reads the text, for `'TEXT'`. */
  tokenizerNameOrPath?: string | null
  /** For Python's tokenizer. */
  tokenizerKwargs?: unknown | null
  /** The source's checkpoint (safetensors, or PyTorch's). */
  promptTuningInitStateDictPath?: string | null
  /** The source's task, for `'EXACT_SOURCE_TASK'`. Default 0. */
  promptTuningInitTask?: number
  /** Rank of a task's matrix. Default 1. */
  numRanks?: number
  /** Default 1. */
  numTasks?: number
}
/** Prompts that all tasks share, times a low-rank matrix of each task's own; passes take `taskIds`. Wang et al. 2023 (arXiv 2303.02861). */
export class MultitaskPromptTuningConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly tokenDim: number | null
  declare readonly numTransformerSubmodules: number | null
  declare readonly numAttentionHeads: number | null
  declare readonly numLayers: number | null
  declare readonly numVirtualTokens: number
  declare readonly promptTuningInit: 'TEXT' | 'RANDOM' | 'AVERAGE_SOURCE_TASKS' | 'EXACT_SOURCE_TASK' | 'ONLY_SOURCE_SHARED'
  declare readonly promptTuningInitText: string | null
  declare readonly tokenizerNameOrPath: string | null
  declare readonly tokenizerKwargs: unknown | null
  declare readonly promptTuningInitStateDictPath: string | null
  declare readonly promptTuningInitTask: number
  declare readonly numRanks: number
  declare readonly numTasks: number

  constructor(fields: MultitaskPromptTuningFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'MULTITASK_PROMPT_TUNING' }, raw))
  }
}

/** Virtual tokens that a small network makes (P-tuning). Liu et al. 2021 (arXiv 2103.10385). */
export interface PromptEncoderFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Width of a token; by default the model's. */
  tokenDim?: number | null
  /** 2 for encoder-decoders, otherwise 1; by default what the model is. */
  numTransformerSubmodules?: number | null
  /** By default the model's. */
  numAttentionHeads?: number | null
  /** By default the model's. */
  numLayers?: number | null
  /** How many virtual tokens stand before the sequence. */
  numVirtualTokens: number
  /** `'MLP'`, or `'LSTM'`. Default 'MLP'. */
  encoderReparameterizationType?: 'MLP' | 'LSTM'
  /** By default a token's width. */
  encoderHiddenSize?: number | null
  /** Of an LSTM; an MLP always has three. Default 2. */
  encoderNumLayers?: number
  /** Between the layers of an LSTM. Default 0.0. */
  encoderDropout?: number
}
/** Virtual tokens that a small network makes (P-tuning). Liu et al. 2021 (arXiv 2103.10385). */
export class PromptEncoderConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly tokenDim: number | null
  declare readonly numTransformerSubmodules: number | null
  declare readonly numAttentionHeads: number | null
  declare readonly numLayers: number | null
  declare readonly numVirtualTokens: number
  declare readonly encoderReparameterizationType: 'MLP' | 'LSTM'
  declare readonly encoderHiddenSize: number | null
  declare readonly encoderNumLayers: number
  declare readonly encoderDropout: number

  constructor(fields: PromptEncoderFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'P_TUNING' }, raw))
  }
}

/** The embeddings of examples before the sequence, each moved within a small distance. Blau et al. 2024 (arXiv 2410.17222). */
export interface CPTFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Width of a token; by default the model's. */
  tokenDim?: number | null
  /** 2 for encoder-decoders, otherwise 1; by default what the model is. */
  numTransformerSubmodules?: number | null
  /** By default the model's. */
  numAttentionHeads?: number | null
  /** By default the model's. */
  numLayers?: number | null
  /** Follows from `cptTokenIds`. */
  numVirtualTokens?: number | null
  /** The tokens of the examples. */
  cptTokenIds?: number[] | null
  /** For Python's collators. */
  cptMask?: number[] | null
  /** What each token is, modulo 4: 1 input template, 2 input, 3 output template, 0 answer; the quotient counts examples. */
  cptTokensTypeMask?: number[] | null
  /** `'decay'`: earlier examples count less in the loss. Default 'none'. */
  optWeightedLossType?: 'none' | 'decay'
  /** How much less than the next one. Default 1.0. */
  optLossDecayFactor?: number
  /** How far an input's embedding may move, at a width of 2048. Default 0.1. */
  optProjectionEpsilon?: number
  /** The same for a template's. Default 0.1. */
  optProjectionFormatEpsilon?: number
  /** Of no effect, as in Python. */
  tokenizerNameOrPath?: string | null
}
/** The embeddings of examples before the sequence, each moved within a small distance. Blau et al. 2024 (arXiv 2410.17222). */
export class CPTConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly tokenDim: number | null
  declare readonly numTransformerSubmodules: number | null
  declare readonly numAttentionHeads: number | null
  declare readonly numLayers: number | null
  declare readonly numVirtualTokens: number | null
  declare readonly cptTokenIds: number[] | null
  declare readonly cptMask: number[] | null
  declare readonly cptTokensTypeMask: number[] | null
  declare readonly optWeightedLossType: 'none' | 'decay'
  declare readonly optLossDecayFactor: number
  declare readonly optProjectionEpsilon: number
  declare readonly optProjectionFormatEpsilon: number
  declare readonly tokenizerNameOrPath: string | null

  constructor(fields: CPTFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'CPT' }, raw))
  }
}

/** Trained keys and values before those of every layer. Li and Liang 2021 (arXiv 2101.00190). */
export interface PrefixTuningFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Width of a token; by default the model's. */
  tokenDim?: number | null
  /** 2 for encoder-decoders, otherwise 1; by default what the model is. */
  numTransformerSubmodules?: number | null
  /** By default the model's. */
  numAttentionHeads?: number | null
  /** By default the model's. */
  numLayers?: number | null
  /** How many virtual tokens stand before the sequence. */
  numVirtualTokens: number
  /** `'zero'` starts with keys and values of zero; absent, with random ones. */
  initWeights?: 'zero' | null
  /** Of the projection; by default a token's width. */
  encoderHiddenSize?: number | null
  /** Makes the prefix with a network of two layers. Default false. */
  prefixProjection?: boolean
}
/** Trained keys and values before those of every layer. Li and Liang 2021 (arXiv 2101.00190). */
export class PrefixTuningConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly tokenDim: number | null
  declare readonly numTransformerSubmodules: number | null
  declare readonly numAttentionHeads: number | null
  declare readonly numLayers: number | null
  declare readonly numVirtualTokens: number
  declare readonly initWeights: 'zero' | null
  declare readonly encoderHiddenSize: number | null
  declare readonly prefixProjection: boolean

  constructor(fields: PrefixTuningFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'PREFIX_TUNING' }, raw))
  }
}

/** A key-value cache as parameters, the first tokens of which stay as they are. Eyuboglu et al. 2025 (arXiv 2506.06266). */
export interface CartridgeFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Width of a token; by default the model's. */
  tokenDim?: number | null
  /** 2 for encoder-decoders, otherwise 1; by default what the model is. */
  numTransformerSubmodules?: number | null
  /** By default the model's. */
  numAttentionHeads?: number | null
  /** By default the model's. */
  numLayers?: number | null
  /** How many virtual tokens stand before the sequence. */
  numVirtualTokens: number
  /** How many of the first tokens never train. Default 1. */
  numFrozenTokens?: number
}
/** A key-value cache as parameters, the first tokens of which stay as they are. Eyuboglu et al. 2025 (arXiv 2506.06266). */
export class CartridgeConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly modulesToSave: string[] | null
  declare readonly tokenDim: number | null
  declare readonly numTransformerSubmodules: number | null
  declare readonly numAttentionHeads: number | null
  declare readonly numLayers: number | null
  declare readonly numVirtualTokens: number
  declare readonly numFrozenTokens: number

  constructor(fields: CartridgeFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'CARTRIDGE' }, raw))
  }
}

/** Rotations of what goes into a layer, block by block. Qiu et al. 2023 (arXiv 2306.07280). */
export interface OFTFields {
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
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Number of blocks of a layer, where `oftBlockSize` is 0; the nearest divisor of the width is taken. Default 0. */
  r?: number
  /** Size of the blocks, where `r` is 0; the nearest divisor of the width is taken. Default 32. */
  oftBlockSize?: number
  /** Python keeps it and uses it nowhere. Default 0.0. */
  moduleDropout?: number
  /** False starts with random rotations, so that the adapter acts at once. Default true. */
  initWeights?: boolean
  /** Keeps every block within `eps / sqrt(number of blocks)` of no rotation. Default false. */
  coft?: boolean
  /** How far a layer may rotate, with `coft`. Default 0.00006. */
  eps?: number
  /** One block for all parts of a layer's input. Default false. */
  blockShare?: boolean
  /** A series in place of the exact transform, which takes the inverse of every block. Default true. */
  useCayleyNeumann?: boolean
  /** Default 5. */
  numCayleyNeumannTerms?: number
}
/** Rotations of what goes into a layer, block by block. Qiu et al. 2023 (arXiv 2306.07280). */
export class OFTConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly r: number
  declare readonly oftBlockSize: number
  declare readonly moduleDropout: number
  declare readonly initWeights: boolean
  declare readonly coft: boolean
  declare readonly eps: number
  declare readonly blockShare: boolean
  declare readonly useCayleyNeumann: boolean
  declare readonly numCayleyNeumannTerms: number

  constructor(fields: OFTFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'OFT' }, raw))
  }
}

/** Rotations of what goes into a layer, and scales of what comes out. Liu et al. 2023 (arXiv 2311.06243). */
export interface BOFTFields {
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
  /** Numbers of the layers that are adapted. */
  layersToTransform?: number | number[] | null
  /** What the list of layers is called, with `layersToTransform`. */
  layersPattern?: string[] | string | null
  /** Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …). Default 'none'. */
  bias?: string
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** Size of the blocks, where `boftBlockNum` is 0; it must divide the layer's width. Default 4. */
  boftBlockSize?: number
  /** Number of blocks, where `boftBlockSize` is 0; it must divide the layer's width. Default 0. */
  boftBlockNum?: number
  /** One is always taken, as in Python without its CUDA extension. Default 1. */
  boftNButterflyFactor?: number
  /** Share of the blocks that do nothing in training. Default 0.0. */
  boftDropout?: number
  /** False starts with random rotations and scales, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Rotations of what goes into a layer, and scales of what comes out. Liu et al. 2023 (arXiv 2311.06243). */
export class BOFTConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly fanInFanOut: boolean
  declare readonly layersToTransform: number | number[] | null
  declare readonly layersPattern: string[] | string | null
  declare readonly bias: string
  declare readonly modulesToSave: string[] | null
  declare readonly boftBlockSize: number
  declare readonly boftBlockNum: number
  declare readonly boftNButterflyFactor: number
  declare readonly boftDropout: number
  declare readonly initWeights: boolean

  constructor(fields: BOFTFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'BOFT' }, raw))
  }
}

/** Full training of norms. Zhao et al. 2023 (arXiv 2312.11420). */
export interface LNTuningFields {
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
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
}
/** Full training of norms. Zhao et al. 2023 (arXiv 2312.11420). */
export class LNTuningConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly excludeModules: string[] | string | null
  declare readonly modulesToSave: string[] | null

  constructor(fields: LNTuningFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'LN_TUNING' }, raw))
  }
}

/** Training of single rows of the embedding, and of what is tied to it. */
export interface TrainableTokensFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** The tokens whose rows train. Default []. */
  tokenIndices?: number[]
  /** False starts with random rows in place of those that are there. Default true. */
  initWeights?: boolean
}
/** Training of single rows of the embedding, and of what is tied to it. */
export class TrainableTokensConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly tokenIndices: number[]
  declare readonly initWeights: boolean

  constructor(fields: TrainableTokensFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'TRAINABLE_TOKENS' }, raw))
  }
}

/** Low-rank updates whose ranks go to where they matter while training goes on. Zhang et al. 2023 (arXiv 2303.10512). */
export interface AdaLoraFields {
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
  /** Alphas by patterns that match the ends of module names. */
  alphaPattern?: Record<string, number>
  /** Average rank at the end. Default 8. */
  targetR?: number
  /** Rank at the start. Default 12. */
  initR?: number
  /** Steps before ranks begin to fall. Default 0. */
  tinit?: number
  /** Steps at the end in which ranks stay. Default 0. */
  tfinal?: number
  /** Steps between two allocations. Default 1. */
  deltaT?: number
  /** Of the moving average of importance. Default 0.85. */
  beta1?: number
  /** Of the moving average of its uncertainty. Default 0.85. */
  beta2?: number
  /** Weight of the term of the loss that keeps the singular vectors orthonormal. Default 0.5. */
  orthRegWeight?: number
  /** Steps of the whole training. */
  totalStep: number
  /** Which triplets of each matrix are left, as the allocator has it. */
  rankPattern?: Record<string, boolean[]> | null
  /** The update is scaled by `loraAlpha / initR`. Default 8. */
  loraAlpha?: number
  /** Default 0.0. */
  loraDropout?: number
  /** False starts with random triplets, so that the adapter acts at once. Default true. */
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  /** Adapts a tied output projection together with a saved embedding. Default false. */
  ensureWeightTying?: boolean
  /** Tokens whose rows of the embedding train, too (of the modules whose names end so, where they are by name). */
  trainableTokenIndices?: number[] | Record<string, number[]> | null
  /** Without effect, as in PEFT: `initR` is the rank. Default 8. */
  r?: number
  /** Without effect, as in PEFT. Default false. */
  useRslora?: boolean
  /** Without effect, as in PEFT. Default false. */
  loraBias?: boolean
  /** Default 16. */
  qaloraGroupSize?: unknown
}
/** Low-rank updates whose ranks go to where they matter while training goes on. Zhang et al. 2023 (arXiv 2303.10512). */
export class AdaLoraConfig extends PeftConfig {
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
  declare readonly alphaPattern: Record<string, number>
  declare readonly targetR: number
  declare readonly initR: number
  declare readonly tinit: number
  declare readonly tfinal: number
  declare readonly deltaT: number
  declare readonly beta1: number
  declare readonly beta2: number
  declare readonly orthRegWeight: number
  declare readonly totalStep: number
  declare readonly rankPattern: Record<string, boolean[]> | null
  declare readonly loraAlpha: number
  declare readonly loraDropout: number
  declare readonly initLoraWeights: boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'
  declare readonly ensureWeightTying: boolean
  declare readonly trainableTokenIndices: number[] | Record<string, number[]> | null
  declare readonly r: number
  declare readonly useRslora: boolean
  declare readonly loraBias: boolean
  declare readonly qaloraGroupSize: unknown

  constructor(fields: AdaLoraFields, raw?: symbol) {
    super(complete(fields, { peft_type: 'ADALORA' }, raw))
  }
}

/** Training of the smaller singular triplets, at right angles to the larger ones. Nayak et al. 2025 (arXiv 2504.07097). */
export interface OSFFields {
  /** What the model is for; classifiers train their head, too. */
  taskType?: string | null
  baseModelNameOrPath?: string | null
  revision?: string | null
  /** Attaches the adapter frozen. Default false. */
  inferenceMode?: boolean
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string | null
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[] | null
  /** How many of the largest singular triplets stay as they are: a number, or a share of all below or equal to 1.0 (with a point). Default: half of them. */
  effectiveRank?: number | null
  /** The same by patterns that are found in module names; the first counts. */
  rankPattern?: Record<string, number> | null
  /** False starts with random triplets in place of the weight's, so that the adapter acts at once. Default true. */
  initWeights?: boolean | null
  /** Python keeps it and uses it nowhere. */
  targetSvdConfig?: unknown
}
/** Training of the smaller singular triplets, at right angles to the larger ones. Nayak et al. 2025 (arXiv 2504.07097). */
export class OSFConfig extends PeftConfig {
  declare readonly taskType: string | null
  declare readonly baseModelNameOrPath: string | null
  declare readonly revision: string | null
  declare readonly inferenceMode: boolean
  declare readonly targetModules: string[] | string | null
  declare readonly modulesToSave: string[] | null
  declare readonly effectiveRank: number | null
  declare readonly rankPattern: Record<string, number> | null
  declare readonly initWeights: boolean | null
  declare readonly targetSvdConfig: unknown

  constructor(fields: OSFFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'OSF' }, raw))
  }
}

/** Some coefficients of an update's wavelet transform. Bilican et al. 2025 (arXiv 2505.12532). */
export interface WaveFTFields {
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
  /** Number of coefficients that train in each layer. Default 2592. */
  nFrequency?: number
  /** The transform is scaled by it. Default 25.0. */
  scaling?: number
  /** `db1` to `db10`, `sym2` to `sym10` or `coif1` to `coif4`. Default 'db1'. */
  waveletFamily?: string
  /** False takes the coefficients as entries of the update itself. Default true. */
  useIdwt?: boolean
  /** Seed of the coefficients' places, which checkpoints do not hold. Default 777. */
  randomLocSeed?: number
  /** Numbers of coefficients by patterns that match the ends of module names. */
  nFrequencyPattern?: Record<string, number>
  /** Shares out as many coefficients as all layers have together by the sizes of their weights. Default false. */
  proportionalParameters?: boolean
  /** False starts with random coefficients, so that the adapter acts at once. Default true. */
  initWeights?: boolean
}
/** Some coefficients of an update's wavelet transform. Bilican et al. 2025 (arXiv 2505.12532). */
export class WaveFTConfig extends PeftConfig {
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
  declare readonly nFrequency: number
  declare readonly scaling: number
  declare readonly waveletFamily: string
  declare readonly useIdwt: boolean
  declare readonly randomLocSeed: number
  declare readonly nFrequencyPattern: Record<string, number>
  declare readonly proportionalParameters: boolean
  declare readonly initWeights: boolean

  constructor(fields: WaveFTFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'WAVEFT' }, raw))
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
    FOURIERFT: FourierFTConfig,
    FROD: FrodConfig,
    HRA: HRAConfig,
    IA3: IA3Config,
    LILY: LilyConfig,
    LOHA: LoHaConfig,
    PVERA: PveraConfig,
    RANDLORA: RandLoraConfig,
    SHIRA: ShiraConfig,
    SUPERTUNING: SupertuningConfig,
    ADAMSS: AdamssConfig,
    BEFT: BeftConfig,
    C3A: C3AConfig,
    DEFT: DeftConfig,
    DELORA: DeloraConfig,
    GLORA: GloraConfig,
    GRALORA: GraloraConfig,
    HIRA: HiraConfig,
    LOKR: LoKrConfig,
    MISS: MissConfig,
    PEANUT: PeanutConfig,
    PSOFT: PsoftConfig,
    ROAD: RoadConfig,
    SHADOW: ShadowConfig,
    TINYLORA: TinyLoraConfig,
    UNILORA: UniLoraConfig,
    VBLORA: VBLoRAConfig,
    VERA: VeraConfig,
    ADAPTION_PROMPT: AdaptionPromptConfig,
    POLY: PolyConfig,
    XLORA: XLoraConfig,
    PROMPT_TUNING: PromptTuningConfig,
    MULTITASK_PROMPT_TUNING: MultitaskPromptTuningConfig,
    P_TUNING: PromptEncoderConfig,
    CPT: CPTConfig,
    PREFIX_TUNING: PrefixTuningConfig,
    CARTRIDGE: CartridgeConfig,
    OFT: OFTConfig,
    BOFT: BOFTConfig,
    LN_TUNING: LNTuningConfig,
    TRAINABLE_TOKENS: TrainableTokensConfig,
    ADALORA: AdaLoraConfig,
    OSF: OSFConfig,
    WAVEFT: WaveFTConfig,
  },
  names: { applyGS: 'apply_GS', configAB: 'config_A_B', configC: 'config_C', configDE: 'config_D_E', deltaT: 'deltaT', numB: 'num_B', strideA: 'stride_A' },
})
