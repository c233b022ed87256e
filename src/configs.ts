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

abstract class AdapterConfig {
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
export abstract class SwiftConfig extends AdapterConfig {
  declare readonly swiftType: string

  static fromJSON(json: Json): SwiftConfig {
    const complete_ = complete(json)
    if (complete_.swift_type === undefined) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'swift_type is missing: this is a PEFT configuration')
    return new LoRAConfig(complete_, RAW)
  }
}

/** PEFT's own configs: these go the PEFT way (its key names, its directory layout) and give a PeftModel. */
export abstract class PeftConfig extends AdapterConfig {
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

/** PEFT's LoRA (`peft_type: LORA`). */
export class LoraConfig extends PeftConfig {
  declare readonly r: number
  declare readonly loraAlpha: number
  declare readonly targetModules: string[] | string | null

  constructor(fields: LoraFields, raw?: symbol) {
    super(raw === RAW ? (fields as Json) : fromFields(fields, { peft_type: 'LORA' }))
  }
}
