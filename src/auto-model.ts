import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { withSignal } from './abort.js'
import { type DType, floats } from './dtype.js'
import { SwiftTunersError } from './errors.js'
import { resolveModel } from './hub.js'
import { jsonText } from './json.js'
import { LOAD, LOAD_HINTS, type LoadOptions, QUANTIZATION } from './load-options.js'
import { warnOfSurplus } from './loading.js'
import { Model } from './model.js'
import * as binding from './native/binding.js'
import type { ContainerSpec } from './nn.js'
import { checkOptions, isObject, type OptionTable, requireOptions, seed, where } from './options.js'
import { readRegular } from './regular-file.js'
import { printable } from './text.js'

/** How a model with fresh weights is made. */
export interface NewModelOptions extends Omit<LoadOptions, 'quantization' | 'dtype'> {
  /** One of the floats. Default f32. */
  dtype?: DType
  /** Of the weights. Default 0. */
  seed?: number
}

/** The same for a network of `nn` modules. */
export interface ModulesOptions extends NewModelOptions {
  /** More for its config.json, such as `id2label`. */
  config?: Record<string, unknown>
}

const { quantization: _, ...PLAIN } = LOAD
const NEW: OptionTable<NewModelOptions> = { ...PLAIN, dtype: floats, seed }
const MODULES: OptionTable<ModulesOptions> = { ...NEW, config: where('an object', isObject) }
const NEW_HINTS = { quantization: 'a model with fresh weights is not quantized', name: 'a model is named by the folder that it is saved to' }

/** SWIFT's switch: one set of active adapters for all threads (default), or one for each. */
const uniqueThread = () => process.env.USE_UNIQUE_THREAD !== '0'

/** Loads a Hugging Face model directory, or a hub id; the architecture comes from its config.json. */
export class AutoModel {
  /** Loads a model: config.json and the weights of a local folder or of a hub. */
  static async fromPretrained(directoryOrId: string, options: LoadOptions = {}): Promise<Model> {
    const { onProgress, quantization: q, dtype, device = 'cpu', signal } = checkOptions('AutoModel.fromPretrained', options, LOAD, LOAD_HINTS)
    if (typeof q === 'object') {
      checkOptions('AutoModel.fromPretrained: quantization', q, QUANTIZATION)
      requireOptions('AutoModel.fromPretrained: quantization', q, 'type')
    }
    const directory = await resolveModel('AutoModel.fromPretrained', directoryOrId, options)
    await refuseAdapters(directory)
    const report = onProgress && ((file: string, loaded: number, total: number) => onProgress({ file, loaded, total }))
    const packed = q === undefined ? undefined : typeof q === 'string' ? { packing: q } : { packing: q.type, skipModules: q.skipModules ?? undefined }
    const handle = await withSignal(signal, flag => binding.loadModel(directory, dtype, device, packed, uniqueThread(), flag, report))
    handle.nameOrPath = directoryOrId
    handle.reportMemory()
    warnOfSurplus(directory, handle.surplus)
    return new Model(handle)
  }

  /**
   * A network of `nn` modules with fresh random weights; the outermost is a `nn.sequential`. It takes `input` (or
   * `inputIds`, where it begins with an embedding) and gives `logits`. Saved and loaded as any model.
   */
  static async fromModules(module: ContainerSpec, options: ModulesOptions = {}): Promise<Model> {
    const { config, ...rest } = checkOptions('AutoModel.fromModules', options, MODULES, NEW_HINTS)
    return fresh('AutoModel.fromModules: module', { architectures: ['CustomModel'], ...config, model_type: 'custom', module }, rest)
  }

  /** The architecture that a config.json describes, with fresh random weights. */
  static async fromConfig(config: Record<string, unknown>, options: NewModelOptions = {}): Promise<Model> {
    return fresh('AutoModel.fromConfig: config', config, checkOptions('AutoModel.fromConfig', options, NEW, NEW_HINTS))
  }
}

async function fresh(what: string, config: Record<string, unknown>, options: NewModelOptions): Promise<Model> {
  const text = jsonText(what, config)
  const { dtype = 'f32', device = 'cpu', seed = 0, signal } = options
  const handle = await withSignal(signal, () => binding.newModel(text, dtype, device, uniqueThread(), seed))
  handle.reportMemory()
  return new Model(handle)
}

/** The folder of an adapter is no model, and says where it belongs. */
async function refuseAdapters(directory: string): Promise<void> {
  const file = join(directory, 'adapter_config.json')
  if (existsSync(join(directory, 'config.json')) || !existsSync(file)) return
  const swift = /"swift_type"/.test(await readRegular(file).catch(() => ''))
  const how = swift ? 'Swift.fromPretrained(model, directory)' : 'PeftModel.fromPretrained(model, directory), or with its base by AutoPeftModel.fromPretrained(directory)'
  throw new SwiftTunersError('ERR_UNSUPPORTED_MODEL', `${printable(directory)}: this is an adapter and no model; load it with ${how}`, { details: { path: directory } })
}
