/** The model that a command works on. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AutoModel, AutoTokenizer, type DType, type HubOptions, type Model, type PeftModel, Swift, type SwiftModel, setNumThreads } from '../../index.js'
import { resolveModel } from '../hub.js'
import type { Device } from '../dtype.js'
import type { Quantization } from '../load-options.js'
import { invalid } from '../options.js'
import { readConfig } from './config-file.js'
import type { ValuesOf } from './argument.js'
import type { MODEL } from './options/model.js'

type Args = Pick<ValuesOf<typeof MODEL>, 'model' | 'use_hf' | 'model_revision' | 'torch_dtype' | 'device' | 'quant_method' | 'quant_bits' | 'adapters' | 'num_threads'>

/** A model with its tokenizer, and the folder that both are in. */
export interface Loaded {
  model: Model
  tokenizer: AutoTokenizer
  folder: string
}

/** An adapter by the name that it gets, and its folder. */
export interface NamedAdapter {
  name: string
  folder: string
}

const DTYPES: Record<string, DType | 'auto'> = { float32: 'f32', bfloat16: 'bf16', float16: 'f16', auto: 'auto' }

type Hub = Pick<Args, 'use_hf' | 'model_revision'>

export const hubOptions = (args: Hub): HubOptions => ({ ...(args.use_hf ? { hub: 'huggingface' as const } : {}), ...(args.model_revision === undefined ? {} : { revision: args.model_revision }) })

/** The model's name, also where only its adapters say it. Fails with ERR_INVALID_CONFIG where nobody does. */
export async function modelName(args: Pick<Args, 'model' | 'adapters'>): Promise<string> {
  if (args.model !== undefined) return args.model
  for (const { folder } of named(args.adapters)) {
    const files = [folder, ...subfolders(folder)].map(at => join(at, 'adapter_config.json'))
    for (const file of files.filter(existsSync)) {
      const { base_model_name_or_path: base } = await readConfig(file)
      if (typeof base === 'string' && base !== '') return base
    }
  }
  throw invalid('model', `--model: missing${args.adapters.length > 0 ? '; the adapters do not name their base' : ''}`)
}

/** The base without its adapters. */
export async function load(args: Args): Promise<Loaded> {
  const name = await modelName(args)
  const hub = hubOptions(args)
  if (args.num_threads !== undefined) setNumThreads(args.num_threads)
  const folder = await resolveModel('--model', name, hub)
  const tokenizer = await AutoTokenizer.fromPretrained(name, hub)
  const dtype = args.torch_dtype === undefined ? {} : { dtype: DTYPES[args.torch_dtype] }
  const quantization = packing(args)
  const model = await AutoModel.fromPretrained(name, { ...hub, device: args.device as Device, ...dtype, ...(quantization ? { quantization } : {}) })
  return { model, tokenizer, folder }
}

function packing({ quant_method: method, quant_bits: bits }: Args): Quantization | undefined {
  if (method === undefined && bits === undefined) return undefined
  if (bits !== undefined && bits !== 4 && bits !== 8) throw invalid('quant_bits', `--quant_bits: expected 4 or 8, found ${bits}`)
  if (bits === 8) return 'q8_0'
  return method === 'gguf' ? 'q4_k' : 'nf4'
}

/** `NAME=FOLDER`, or a folder alone: one is called `default`, several by their folders. */
export function named(adapters: string[]): NamedAdapter[] {
  const all = adapters.map(text => {
    const [, name, folder] = /^(?:([\w.-]+)=)?(.+)$/s.exec(text)!
    return { name: name ?? (adapters.length === 1 ? 'default' : basename(folder)), folder }
  })
  const twice = all.find(({ name }, i) => all.findIndex(one => one.name === name) !== i)
  if (twice) throw invalid('adapters', `--adapters: two are called ${twice.name}; give NAME=FOLDER`)
  return all
}

/** Puts adapters of either layout on a model. */
export async function withAdapters(model: Model, adapters: NamedAdapter[], options: HubOptions & { inferenceMode?: boolean } = {}): Promise<Model | SwiftModel | PeftModel> {
  let tuned: Model | SwiftModel | PeftModel = model
  for (const { name, folder } of adapters) {
    const inside = existsSync(join(folder, 'adapter_config.json')) ? [] : subfolders(folder)
    // What PEFT saves is one adapter, and a folder of SWIFT's may hold several that belong together.
    const names = inside.length > 1 ? Object.fromEntries(inside.map(at => [basename(at), name === 'default' ? basename(at) : `${name}.${basename(at)}`])) : { [inside.length === 1 ? basename(inside[0]) : 'default']: name }
    tuned = await Swift.fromPretrained(tuned, folder, { ...options, adapterName: names })
  }
  return tuned
}

/** Folders of adapters in a folder, as SWIFT writes them. */
export function subfolders(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder).map(name => join(folder, name)).filter(at => existsSync(join(at, 'adapter_config.json'))).sort()
}

/** What generation_config.json of a model's folder says; nothing where it says nothing. */
export function generationConfig(folder: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(join(folder, 'generation_config.json'), 'utf8')) as Record<string, unknown>
  } catch {
    return {}
  }
}
