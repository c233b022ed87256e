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
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | 'pissa' | 'olora'
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
  declare readonly initLoraWeights: boolean | 'gaussian' | 'orthogonal' | 'pissa' | 'olora'
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
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | 'pissa' | 'olora'
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
  declare readonly initLoraWeights: boolean | 'gaussian' | 'orthogonal' | 'pissa' | 'olora'
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
  initLoraWeights?: boolean | 'gaussian' | 'orthogonal' | 'pissa' | 'olora'
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
  declare readonly initLoraWeights: boolean | 'gaussian' | 'orthogonal' | 'pissa' | 'olora'
  declare readonly useDora: boolean
  declare readonly loraBias: boolean
  declare readonly ensureWeightTying: boolean
  declare readonly loraDtype: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  declare readonly lorapEmbLr: number
  declare readonly rankPattern: Record<string, number>
  declare readonly alphaPattern: Record<string, number>
  declare readonly lorapLrRatio: number | null

  constructor(fields: LoraFields = {}, raw?: symbol) {
    super(complete(fields, { peft_type: 'LORA' }, raw))
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
    ADAMSS: AdamssConfig,
    BEFT: BeftConfig,
    C3A: C3AConfig,
    DEFT: DeftConfig,
    DELORA: DeloraConfig,
    GLORA: GloraConfig,
    GRALORA: GraloraConfig,
    HIRA: HiraConfig,
    HRA: HRAConfig,
    IA3: IA3Config,
    LOHA: LoHaConfig,
    LOKR: LoKrConfig,
    MISS: MissConfig,
    PEANUT: PeanutConfig,
    PSOFT: PsoftConfig,
    ROAD: RoadConfig,
    VERA: VeraConfig,
  },
  names: { applyGS: 'apply_GS', configAB: 'config_A_B', configC: 'config_C', configDE: 'config_D_E' },
})
