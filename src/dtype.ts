/** Types of a tensor's elements, and where it is. */
import { type Kind, oneOf } from './options.js'

/** The type of a tensor's elements: floats of 64 to 16 bits, then integers. */
export type DType = 'f64' | 'f32' | 'f16' | 'bf16' | 'i64' | 'u32' | 'u8'

/** Where a tensor is; CUDA's devices have numbers. */
export type Device = 'cpu' | 'cuda' | `cuda:${number}`

const FLOATS = ['f64', 'f32', 'f16', 'bf16']

/** PyTorch's and other libraries' names. */
const CALLED: Record<string, DType> = {
  float64: 'f64', double: 'f64', fp64: 'f64', float32: 'f32', float: 'f32', fp32: 'f32', float16: 'f16', half: 'f16', fp16: 'f16', bfloat16: 'bf16',
  int64: 'i64', long: 'i64', uint32: 'u32', uint8: 'u8',
}

function hint(value: unknown): string | undefined {
  const name = String(typeof value === 'string' ? value : '').toLowerCase().replace(/^torch\./, '')
  return Object.hasOwn(CALLED, name) ? `it is called ${CALLED[name]} here` : undefined
}

/** Of a tensor. */
export const dtype: Kind = { ...oneOf(...FLOATS, 'i64', 'u32', 'u8'), hint }
/** Of a model's weights: integers would cut them off. */
export const floats: Kind = { ...oneOf(...FLOATS), hint }

/** The same, or what the files have. */
export const floatsOrAuto: Kind = { ...oneOf(...FLOATS, 'auto'), hint }

export const device: Kind = {
  expected: 'cpu, cuda or cuda:N',
  accepts: v => typeof v === 'string' && /^(cpu|cuda(:\d{1,3})?)$/.test(v),
  hint: v => (v === 'gpu' ? 'it is called cuda here' : v === 'mps' || v === 'metal' ? 'there is no Metal build' : undefined),
}
