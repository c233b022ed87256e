import { native, SwiftTunersError } from './errors.js'
import { completeConfig } from './native/binding.js'

/** `loraAlpha` → `lora_alpha`: field names only, never what they hold. */
function snake(name: string): string {
  return name.replace(/[A-Z]/g, c => `_${c.toLowerCase()}`)
}

/** `lora_alpha` → `loraAlpha` */
function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase())
}

type Json = Record<string, unknown>

/** Fills in defaults and checks every field; errors name the field. */
function complete(fields: Json): Json {
  const text = JSON.stringify(fields)
  if (text === undefined) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'adapter config: expected an object')
  return JSON.parse(native(() => completeConfig(text)))
}

abstract class Configuration {
  readonly #json: Json

  /** @internal */
  protected constructor(json: Json) {
    this.#json = json
    for (const [name, value] of Object.entries(json)) {
      if (name === '__proto__') continue
      Object.defineProperty(this, camel(name), { value, enumerable: true, configurable: true })
    }
  }

  /** The content of adapter_config.json. */
  toJSON(): Json {
    return structuredClone(this.#json)
  }
}

function fromFields(fields: object, fixed: Json): Json {
  const out: Json = { ...fixed }
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && name !== 'swiftType' && name !== 'peftType') out[snake(name)] = value
  }
  return complete(out)
}

/** Fields are SWIFT's, in camelCase; `toJSON` gives adapter_config.json's content. */
export abstract class SwiftConfig extends Configuration {
  declare readonly swiftType: string

  static fromJSON(json: Json): SwiftConfig {
    const complete_ = complete(json)
    if (complete_.swift_type == null) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'swift_type is missing: this is a PEFT configuration')
    const Class = swiftClasses[String(complete_.swift_type).toUpperCase()]
    if (!Class) throw new SwiftTunersError('ERR_UNSUPPORTED_TUNER', `swift_type ${JSON.stringify(complete_.swift_type)} has no configuration class`)
    return new Class(complete_, RAW)
  }
}

/** PEFT's own configs: these go the PEFT way (its key names, its directory layout) and give a PeftModel. */
export abstract class PeftConfig extends Configuration {
  declare readonly peftType: string

  static fromJSON(json: Json): PeftConfig {
    if (json?.swift_type != null) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'swift_type is set: this is a SWIFT configuration')
    return new LoraConfig(complete(json), RAW)
  }
}

/** Marks fields that are complete JSON already. */
const RAW = Symbol('complete json')

/** The fields that LoRA has in both worlds. */
export interface LoraFields {
  /** Rank of the update. Default 8. */
  r?: number
  /** The update is scaled by `loraAlpha / r`. Default 8. */
  loraAlpha?: number
  /** Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own (PEFT's table). */
  targetModules?: string[] | string
  excludeModules?: string[] | string
  loraDropout?: number
  /** Which biases train, too. */
  bias?: 'none' | 'all' | 'lora_only'
  /** Modules of which each adapter trains and saves a copy of its own. */
  modulesToSave?: string[]
  rankPattern?: Record<string, number>
  alphaPattern?: Record<string, number>
  layersToTransform?: number | number[]
  layersPattern?: string | string[]
  fanInFanOut?: boolean
  initLoraWeights?: boolean | 'gaussian' | 'pissa' | 'olora' | 'orthogonal'
  /** Scale by `loraAlpha / sqrt(r)`. Kalajdzievski 2023 (arXiv 2312.03732). */
  useRslora?: boolean
  /** Liu et al. 2024 (arXiv 2402.09353). */
  useDora?: boolean
  loraBias?: boolean
  ensureWeightTying?: boolean
  taskType?: string | null
  /** LoRA+'s factor on B's learning rate. SWIFT's default 16, PEFT's none. Hayou et al. 2024 (arXiv 2402.12354). */
  lorapLrRatio?: number | null
  lorapEmbLr?: number
  /** Type of the adapter's weights; default the base's (SWIFT) or at least f32 (PEFT). */
  loraDtype?: 'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16' | null
  [field: string]: unknown
}

/** SWIFT's LoRA (`swift_type: LORA`). */
export class LoRAConfig extends SwiftConfig {
  declare readonly r: number
  declare readonly loraAlpha: number
  declare readonly targetModules: string[] | string | null

  constructor(fields: LoraFields & {
    /** One LoRA per block of output rows of a fused projection. */
    useMergedLinear?: boolean
    enableLora?: boolean[] | null
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'LORA' }))
  }
}

/** Which modules: a regular expression for whole names, or a list of endings. */
type Targets = string | string[]
/** An index among arguments or outputs, or a name. */
type Position = number | string

/** LoRA with trained embeddings and norms, and attention in shifted groups while training. Chen et al. 2023 (arXiv 2309.12307). */
export class LongLoRAConfig extends SwiftConfig {
  declare readonly r: number
  declare readonly loraAlpha: number
  declare readonly targetModules: string[] | string | null
  declare readonly embedderAndNormalizer: string[] | string
  declare readonly groupSizeRatio: number

  constructor(fields: LoraFields & {
    /** Base parameters that train and are saved, too: parts of names, or a regular expression for whole ones. Default embed, norm. */
    embedderAndNormalizer?: Targets
    /** 'llama' for the shifted attention (all Llama-like architectures); null for none. */
    modelType?: 'llama' | null
    /** Share of the sequence that a group has. Default 0.25. */
    groupSizeRatio?: number
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'longlora' }))
  }
}

/** A bottleneck with a residual on a module's output. Houlsby et al. 2019 (arXiv 1902.00751). */
export class AdapterConfig extends SwiftConfig {
  declare readonly dim: number
  declare readonly targetModules: Targets
  declare readonly adapterLength: number

  constructor(fields: {
    /** Width of what the module gives out. */
    dim: number
    targetModules: Targets
    /** Which element of a tuple or model output; needed where the module gives more than a tensor. */
    hiddenPos?: Position | null
    /** The method that is surrounded. Default 'forward'; BERT's layers also have 'feed_forward_chunk'. */
    methodName?: string
    /** Inner width. Default 128. */
    adapterLength?: number
    /** An activation by its transformers name. Default 'gelu'. */
    actLayer?: string
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'ADAPTER' }))
  }
}

/** Trained positions in the sequences of layers. Jia et al. 2022 (arXiv 2203.12119). */
export class PromptConfig extends SwiftConfig {
  declare readonly dim: number | number[]
  declare readonly targetModules: Targets
  declare readonly promptLength: number

  constructor(fields: {
    /** Width of the hidden state: one for all layers, or one for each that matches. */
    dim: number | number[]
    /** Layers of a list: their paths end in a number. Layer 0 lengthens the sequence, the others overwrite its ends. */
    targetModules: Targets
    /** Where the hidden state is among the layer's arguments. */
    embeddingPos: Position
    attentionMaskPos?: Position | null
    /** Added to the attention scores of the prompt; 0 (default) makes it visible. */
    attentionMaskValue?: number
    /** Default 16. */
    promptLength?: number
    /** Default true: before the sequence. */
    attachFront?: boolean
    /** Cuts the prompt's positions from the layer's output. */
    extractEmbedding?: boolean
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'PROMPT' }))
  }
}

/** A small network beside a module, the outputs blended. Zhang et al. 2019 (arXiv 1912.13503). */
export class SideConfig extends SwiftConfig {
  declare readonly dim: number
  declare readonly targetModules: string
  declare readonly sideModuleName: string

  constructor(fields: {
    /** Width of what is blended. */
    dim: number
    /** A regular expression for whole names; the empty one means the model itself. */
    targetModules: string
    /** Default 'fcn4'. 'fcn4' and 'alexnet' take images; 'alexnet' starts from random weights here. */
    sideModuleName?: 'fcn4' | 'mlp' | 'alexnet'
    /** The side network's input among the module's arguments. Default 0. */
    sourceHiddenPos?: Position
    /** Which element of the module's output. Default 0. */
    targetHiddenPos?: Position
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'SIDE' }))
  }
}

/** Options of a `res_adapter` or `res_group_adapter`, in snake_case as they are saved. */
export interface ResTunerOptions {
  adapter_length?: number | number[]
  /** 'scale', 'scale_channel', 'gate', or a constant such as 'scalar_0.5'. */
  adapter_weight?: string
  head?: number
  scale_factor?: number
}
export type ResTunerSpec = 'res_adapter' | 'res_group_adapter' | 'upsample' | 'identity' | 'zero' | Record<string, ResTunerOptions>
export type ResTunerBlock = ResTunerSpec | { lateral_cfg?: ResTunerSpec; vertical_cfg?: ResTunerSpec; aux_cfg?: ResTunerSpec }

/** A bypass network beside the frozen model. Jiang et al. 2023 (arXiv 2310.19859). */
export class ResTuningConfig extends SwiftConfig {
  declare readonly dims: number | number[]
  declare readonly stemModules: Targets
  declare readonly targetModules: string

  constructor(fields: {
    /** Channels of the stems: one for all, or one for each. */
    dims: number | number[]
    /** Where the bypass starts; default the first stem's input. */
    rootModules?: string | null
    rootModulesHook?: 'input' | 'output'
    /** A regular expression, or exact paths in the order of the bypass. */
    stemModules: Targets
    stemModulesHook?: 'input' | 'output'
    targetModules: string
    targetModulesHook?: 'input' | 'output'
    targetHiddenPos?: Position | null
    /** One for all blocks, or one for each. */
    tunerCfg?: ResTunerBlock | ResTunerBlock[] | null
    useUpsample?: boolean
    upsampleOutChannels?: (number | null)[] | number | null
    zeroInitLast?: boolean
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'RESTUNING' }))
  }
}

/** Tunes skip connections. Jiang et al. 2023 (arXiv 2312.11392). */
export class SCETuningConfig extends SwiftConfig {
  declare readonly dims: number | number[]
  declare readonly targetModules: Targets
  declare readonly tunerMode: 'encoder' | 'decoder' | 'identity'

  constructor(fields: {
    dims: number | number[]
    /** A regular expression, or exact paths; a list of modules means its last one. */
    targetModules: Targets
    hintModules?: Targets | null
    /** Default 'decoder': the skip connection in the module's input. Otherwise the module's output. */
    tunerMode?: 'encoder' | 'decoder' | 'identity'
    tunerOp?: 'SCEAdapter'
    /** Inner width as a share of `dims`. Default 1. */
    downRatio?: number
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'SCETuning' }))
  }
}

/** Noise on embeddings in training; alone it freezes nothing. Jain et al. 2023 (arXiv 2310.05914). */
export class NEFTuneConfig extends SwiftConfig {
  declare readonly noiseAlpha: number

  constructor(fields: {
    /** The noise is uniform within `noiseAlpha / sqrt(seq · dim)`. Default 5. */
    noiseAlpha?: number
  } = {}, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'neftune' }))
  }
}

/** SWIFT's table of where an architecture keeps its parts; `{}` stands for a block's number. */
export interface ModelKeyMapping {
  arch_name?: string
  module_list: string
  o_proj: string
  down_proj: string
  [part: string]: string | undefined
}

/** New blocks between the old ones, which start as identities. Wu et al. 2024 (arXiv 2401.02415). */
export class LLaMAProConfig extends SwiftConfig {
  declare readonly modelType: string
  declare readonly numNewBlocks: number
  declare readonly numGroups: number | null

  constructor(fields: {
    /** SWIFT's name of the architecture: 'llama' for Llama, Mistral, Qwen and Gemma, 'phi3', … */
    modelType?: string
    numNewBlocks: number
    /** How many blocks are inserted, evenly. Default `numNewBlocks`. */
    numGroups?: number | null
    /** For architectures that SWIFT has no name for. */
    modelKeyMapping?: ModelKeyMapping | null
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'LLAMAPRO' }))
  }
}

/** Full training of chosen modules, on copies that belong to the adapter. */
export class PartConfig extends SwiftConfig {
  declare readonly targetModules: string

  constructor(fields: {
    /** A regular expression for whole names. */
    targetModules: string
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'part' }))
  }
}

/** Interventions on hidden states. Wu et al. 2024 (arXiv 2404.03592). */
export class ReftConfig extends SwiftConfig {
  declare readonly r: number
  declare readonly layers: number[] | null
  declare readonly interventionType: string

  constructor(fields: {
    /** SWIFT's name of the architecture; or give `layerKey`. */
    modelType?: string | null
    /** The path of the list of layers. */
    layerKey?: string | null
    /** Default all. */
    layers?: number[] | null
    /** Default 4. */
    r?: number
    interventionType?: 'LoreftIntervention' | 'NoreftIntervention' | 'ConsreftIntervention' | 'LobireftIntervention'
      | 'DireftIntervention' | 'NodireftIntervention'
    /** `add_bias`, `act_fn`, `dropout`; as JSON text or as an object. */
    args?: string | { add_bias?: boolean; act_fn?: string; dropout?: number }
    modelKeyMapping?: ModelKeyMapping | null
  }, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { swift_type: 'reft' }))
  }
}

/** By upper-case `swift_type`. */
const swiftClasses: Record<string, (new (fields: any, raw?: symbol) => SwiftConfig) | undefined> = {
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
}

/** PEFT's LoRA (`peft_type: LORA`). */
export class LoraConfig extends PeftConfig {
  declare readonly r: number
  declare readonly loraAlpha: number
  declare readonly targetModules: string[] | string | null

  constructor(fields: LoraFields, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { peft_type: 'LORA' }))
  }
}
