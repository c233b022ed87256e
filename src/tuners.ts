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
    TINYLORA: TinyLoraConfig,
    UNILORA: UniLoraConfig,
    VBLORA: VBLoRAConfig,
    VERA: VeraConfig,
    WAVEFT: WaveFTConfig,
  },
  names: { applyGS: 'apply_GS', numB: 'num_B', strideA: 'stride_A' },
})
