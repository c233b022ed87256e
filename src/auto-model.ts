import { withSignal } from './abort.js'
import { type HubOptions, resolveModel } from './hub.js'
import { warnOfSurplus } from './loading.js'
import { Model, type Quantization } from './model.js'
import * as binding from './native/binding.js'
import type { ContainerSpec } from './nn.js'
import type { Device, DType } from './tensor.js'

export interface LoadOptions extends HubOptions {
  /** Default cpu. */
  device?: Device
  /** Default: as stored. */
  dtype?: DType
  /**
   * Keeps the weights of linear layers in 4 or 8 bits and frozen, to train adapters on top (QLoRA). `skipModules` names the
   * modules that stay as they are; the heads, when absent. On the CPU only. Rows that fit no block of `q4_k` are packed as
   * `q8_0`, or stay as they are.
   */
  quantization?: Quantization | { type: Quantization; skipModules?: string[] }
  /** Bytes while a file is downloaded, then tensors while they are read. */
  onProgress?: (event: { file: string; loaded: number; total: number }) => void
}

/** SWIFT's switch: one set of active adapters for all threads (default), or one for each. */
const uniqueThread = () => process.env.USE_UNIQUE_THREAD !== '0'

/** Loads a Hugging Face model directory, or a hub id; the architecture comes from its config.json. */
export class AutoModel {
  static async fromPretrained(directoryOrId: string, options: LoadOptions = {}): Promise<Model> {
    const directory = await resolveModel(directoryOrId, options)
    const { onProgress } = options
    const report = onProgress && ((file: string, loaded: number, total: number) => onProgress({ file, loaded, total }))
    const { quantization: q } = options
    const packed = q === undefined ? undefined : typeof q === 'string' ? { packing: q } : { packing: String(q.type), skipModules: q.skipModules }
    const handle = await withSignal(options.signal, flag =>
      binding.loadModel(directory, options.dtype, options.device ?? 'cpu', packed, uniqueThread(), flag, report))
    handle.nameOrPath = directoryOrId
    handle.reportMemory()
    warnOfSurplus(directory, handle.surplus)
    return new Model(handle)
  }

  /**
   * A network of `nn` modules with fresh random weights; the outermost is a `nn.sequential`. It takes `input` (or
   * `inputIds`, where it begins with an embedding) and gives `logits`. Saved and loaded as any model.
   */
  static fromModules(module: ContainerSpec, options: Omit<LoadOptions, 'quantization'> & { seed?: number; config?: Record<string, unknown> } = {}): Promise<Model> {
    return AutoModel.fromConfig({ architectures: ['CustomModel'], ...options.config, model_type: 'custom', module }, options)
  }

  /** The same architecture with fresh random weights. */
  static async fromConfig(config: Record<string, unknown>, options: Omit<LoadOptions, 'quantization'> & { seed?: number } = {}): Promise<Model> {
    const text = JSON.stringify(config)
    const handle = await withSignal(options.signal, () =>
      binding.newModel(text, options.dtype ?? 'f32', options.device ?? 'cpu', uniqueThread(), options.seed ?? 0))
    handle.reportMemory()
    return new Model(handle)
  }
}
