import { join } from 'node:path'
import { native, SwiftTunersError } from './errors.js'
import { type HubOptions, resolveModel } from './hub.js'
import { HUB } from './hub/options.js'
import { configText } from './inspect/config.js'
import { printed } from './inspect/printed.js'
import { jsonText } from './json.js'
import { completeConfig } from './native/binding.js'
import { checkArgument, checkOptions, invalid, isObject, where } from './options.js'
import { readRegular } from './regular-file.js'
import { printable } from './text.js'

type Json = Record<string, unknown>

/** Marks fields that are complete JSON already. */
const RAW = Symbol('complete json')

type Class<T> = new (fields: never, raw?: symbol) => T

/** The classes by upper-case `swift_type` and `peft_type`, and the names whose spelling cannot be told from the other one. */
const known = { swift: {} as Record<string, Class<SwiftConfig>>, peft: {} as Record<string, Class<PeftConfig>>, names: {} as Record<string, string> }

/** @internal Told by the file that declares the classes. */
export function register(classes: { swift: Record<string, unknown>; peft: Record<string, unknown>; names: Record<string, string> }): void {
  Object.assign(known.swift, classes.swift)
  Object.assign(known.peft, classes.peft)
  Object.assign(known.names, classes.names)
}

/** `loraAlpha` → `lora_alpha`: field names only, never what they hold. */
function snake(name: string): string {
  return known.names[name] ?? name.replace(/[A-Z]/g, c => `_${c.toLowerCase()}`)
}

/** `lora_alpha` → `loraAlpha` */
function camel(name: string): string {
  return name.replace(/_([a-zA-Z0-9])/g, (_, c: string) => c.toUpperCase())
}

/** Fills in defaults and checks every field; errors name the field. `strict` refuses fields that the class does not have. */
function checked(fields: Json, strict: boolean): Json {
  const text = jsonText('adapter config', fields)
  return JSON.parse(native(() => completeConfig(text, strict)))
}

/** @internal A constructor's fields as JSON with every field of the class. */
export function complete(fields: object, kind: Json, raw?: symbol): Json {
  if (raw === RAW) return fields as Json
  checkArgument('adapter config', 'fields', fields ?? {}, where('an object of fields', isObject))
  const out: Json = {}
  for (const [name, value] of Object.entries(fields ?? {})) {
    if (value === undefined || name === 'swiftType' || name === 'peftType') continue
    if (name.includes('_')) throw invalid(name, `adapter config: there is no field ${printable(name)}; did you mean ${camel(printable(name))}? (names are in camelCase; fromJSON takes a file's)`, [camel(name)])
    out[snake(name)] = value
  }
  try {
    return checked({ ...out, ...kind }, true)
  } catch (error) {
    throw inCamelCase(error)
  }
}

/** A field's name in a message; names in quotes are values, as are those behind `expected`. */
const FIELD = /(?<!['"\w.])[a-z]+(?:_[a-z0-9]+)+(?![\w'"])/g

/** The error of a file's field as that of a constructor's. */
function inCamelCase(error: unknown): unknown {
  const { code, message, details } = error as SwiftTunersError
  if (details?.option === undefined || !message.startsWith(details.option)) return error
  const [told, ...expected] = message.slice(details.option.length).split('expected')
  const text = [told.replace(FIELD, camel).replace(/the nearest is \w+$/, camel), ...expected].join('expected')
  return new SwiftTunersError(code, camel(details.option) + text, { cause: error, details: { ...details, option: camel(details.option) } })
}

abstract class Configuration {
  readonly #json: Json

  protected constructor(json: Json) {
    checkArgument(new.target.name, 'fields', json, where('what a configuration\'s class completes', isObject))
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

/** @internal What the fields of the same class are when nobody gives them; fields without a default are not there. */
export function defaultsOf(config: { toJSON(): Json }): Json {
  const whole = config.toJSON()
  const kind = whole.swift_type == null ? 'peft_type' : 'swift_type'
  const given: Json = { [kind]: whole[kind] }
  for (;;) {
    try {
      return Object.fromEntries(Object.entries(checked(given, true)).filter(([name]) => name === kind || !(name in given)))
    } catch (error) {
      // A field without a default: what it is here stands for it.
      const option = (error as SwiftTunersError).details?.option
      if (option === undefined || option in given || !(option in whole)) throw error
      given[option] = whole[option]
    }
  }
}

function fromJSON<T>(json: Json, field: string, classes: Record<string, Class<T>>): T {
  const whole = checked(json, false)
  const Class = classes[String(whole[field]).toUpperCase()]
  if (!Class) throw new SwiftTunersError('ERR_UNSUPPORTED_TUNER', `${field} ${JSON.stringify(whole[field])} has no configuration class`)
  return new Class(whole as never, RAW)
}

/** Fields are SWIFT's, in camelCase; `toJSON` gives adapter_config.json's content. */
export abstract class SwiftConfig extends Configuration {
  /** Which tuner, as adapter_config.json names it. */
  declare readonly swiftType: string

  /** From a file's content: fields of later versions are kept. */
  static fromJSON(json: Json): SwiftConfig {
    checkArgument('SwiftConfig.fromJSON', 'json', json, where('an object', isObject))
    if (json.swift_type == null) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'swift_type is missing: this is a PEFT configuration')
    return fromJSON(json, 'swift_type', known.swift)
  }
}

/** PEFT's own configs: these go the PEFT way (its key names, its directory layout) and give a PeftModel. */
export abstract class PeftConfig extends Configuration {
  /** Which tuner, as adapter_config.json names it. */
  declare readonly peftType: string

  /** From a file's content: fields of later versions are kept. */
  static fromJSON(json: Json): PeftConfig {
    checkArgument('PeftConfig.fromJSON', 'json', json, where('an object', isObject))
    if (json.swift_type != null) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'swift_type is set: this is a SWIFT configuration')
    return fromJSON(json, 'peft_type', known.peft)
  }

  /** The `adapter_config.json` of a directory or hub id. */
  static async fromPretrained(modelId: string, options: HubOptions = {}): Promise<PeftConfig> {
    checkOptions('PeftConfig.fromPretrained', options, HUB)
    const file = join(await resolveModel('PeftConfig.fromPretrained', modelId, options), 'adapter_config.json')
    const text = await readRegular(file)
    try {
      return PeftConfig.fromJSON(JSON.parse(text))
    } catch (error) {
      if (error instanceof SyntaxError) throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${file}: ${error.message}`, { cause: error, details: { path: file } })
      throw error
    }
  }
}

printed(Configuration as { prototype: Configuration }, config => configText(config, camel, defaultsOf(config)))

/** Options of a `res_adapter` or `res_group_adapter`, in snake_case as they are saved. */
export interface ResTunerOptions {
  /** Width of the adapter, or one for each place. */
  adapter_length?: number | number[]
  /** 'scale', 'scale_channel', 'gate', or a constant such as 'scalar_0.5'. */
  adapter_weight?: string
  /** Heads of the attention. */
  head?: number
  /** How much larger `upsample` makes a map. */
  scale_factor?: number
}
/** What stands at one place of a block: by name alone, or by name with options. */
export type ResTunerSpec = 'res_adapter' | 'res_group_adapter' | 'upsample' | 'identity' | 'zero' | Record<string, ResTunerOptions>
/** One block of Res-Tuning: what stands on its lateral, vertical and auxiliary connections, or one for all. */
export type ResTunerBlock = ResTunerSpec | { lateral_cfg?: ResTunerSpec; vertical_cfg?: ResTunerSpec; aux_cfg?: ResTunerSpec }

/** SWIFT's table of where an architecture keeps its parts; `{}` stands for a block's number. */
export interface ModelKeyMapping {
  /** What the architecture is called. */
  arch_name?: string
  /** The list of blocks. */
  module_list: string
  /** The attention's last projection. */
  o_proj: string
  /** The feed-forward network's last projection. */
  down_proj: string
  /** Other parts of SWIFT's tables. */
  [part: string]: string | undefined
}
