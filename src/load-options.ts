/** How a model is loaded. */
import { device, type Device, type DType, floatsOrAuto } from './dtype.js'
import { HUB, type HubOptions } from './hub/options.js'
import { either, list, object, oneOf, type OptionTable, string } from './options.js'

/** `nf4` as bitsandbytes makes it (blocks of 64), `q8_0` and `q4_k` as GGUF files hold them. */
export type Quantization = 'nf4' | 'q8_0' | 'q4_k'

/** Which layers are packed how. */
export interface QuantizationOptions {
  /** How weights are packed. */
  type: Quantization
  /** Modules that stay as they are, by the ends of their names. Default: the heads. */
  skipModules?: string[]
}

/** How a model is loaded. */
export interface LoadOptions extends HubOptions {
  /** Default cpu. */
  device?: Device
  /**
   * One of the floats, or `auto`: as stored. By default f32 takes the place of stored halves on the CPU, where it is the type that passes and
   * training are fastest in; on other devices as stored.
   */
  dtype?: DType | 'auto'
  /**
   * Keeps the weights of linear layers in 4 or 8 bits and frozen, to train adapters on top (QLoRA). `skipModules` names the
   * modules that stay as they are; the heads, when absent. On the CPU only. Rows that fit no block of `q4_k` are packed as
   * `q8_0`, or stay as they are.
   */
  quantization?: Quantization | QuantizationOptions
  /** Bytes while a file is downloaded, then tensors while they are read. */
  onProgress?: (event: { file: string; loaded: number; total: number }) => void
}

const packing = oneOf('nf4', 'q8_0', 'q4_k')
export const QUANTIZATION: OptionTable<QuantizationOptions> = { type: packing, skipModules: list(string) }
const packed = object(QUANTIZATION)

export const LOAD: OptionTable<LoadOptions> = {
  ...HUB,
  device,
  dtype: floatsOrAuto,
  quantization: { ...either(packing, packed), expected: 'nf4, q8_0 or q4_k, or an object with one as its type' },
}

/** Names of transformers. */
export const LOAD_HINTS: Record<string, string> = {
  loadIn4bit: 'give quantization: \'nf4\'',
  loadIn8bit: 'give quantization: \'q8_0\'',
  quantizationConfig: 'give quantization: \'nf4\'',
  trustRemoteCode: 'no code of a model is run',
  attnImplementation: 'there is one implementation of attention',
}
