/** safetensors files, valid ones and others. */
import { json, jsonText } from './contents.js'

export interface StoredTensor {
  dtype: string
  /** A bigint is a size that no double holds. */
  shape: (number | bigint)[]
  bytes: Buffer
}

export type Tensors = Map<string, StoredTensor>

/** A header's fields of one tensor; tests put anything there. */
export type Entry = Record<string, unknown>
export type Header = Map<string, Entry>

export const SIZES: Record<string, number> = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 }

export function u64(value: number | bigint): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(BigInt(value))
  return out
}

/** Length field, header, data; objects are padded to eight bytes, as the writers do, and bytes taken as they are. */
export function raw(header: Header | Buffer, data: Buffer = Buffer.alloc(0), length?: number | bigint): Buffer {
  const bytes = Buffer.isBuffer(header) ? header : padded(json(Object.fromEntries(header)))
  return Buffer.concat([u64(length ?? bytes.length), bytes, data])
}

export const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8, ' ')])

/** The header of a valid file, and its data. */
export function parts(tensors: Tensors): { header: Header; data: Buffer } {
  const header: Header = new Map()
  let at = 0
  for (const [name, { dtype, shape, bytes }] of tensors) header.set(name, { dtype, shape, data_offsets: [at, (at += bytes.length)] })
  return { header, data: Buffer.concat([...tensors.values()].map(t => t.bytes)) }
}

export function written(tensors: Tensors): Buffer {
  const { header, data } = parts(tensors)
  return raw(header, data)
}

export const headerText = (header: Header) => jsonText(Object.fromEntries(header))

/** The tensors of a valid file. */
export function read(file: Buffer): Tensors {
  const length = Number(file.readBigUInt64LE(0))
  const data = file.subarray(8 + length)
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>
  delete header.__metadata__
  return new Map(Object.entries(header).map(([name, { dtype, shape, data_offsets }]) => [name, { dtype, shape, bytes: data.subarray(...data_offsets) }]))
}

/** Small, finite values, the same at every call. */
export function values(shape: number[], start = 1, dtype = 'F32'): Buffer {
  const count = shape.reduce((a, b) => a * b, 1)
  const out = Buffer.alloc(count * SIZES[dtype])
  for (let i = 0; i < count; i++) put(out, i, (((i * 37 + start * 11) % 101) - 50) / 1000, dtype)
  return out
}

export function tensor(shape: number[], start = 1, dtype = 'F32'): StoredTensor {
  return { dtype, shape, bytes: values(shape, start, dtype) }
}

function put(out: Buffer, i: number, value: number, dtype: string): void {
  if (dtype === 'F64') out.writeDoubleLE(value, i * 8)
  else if (dtype === 'F32') out.writeFloatLE(value, i * 4)
  else out.writeUInt16LE(dtype === 'F16' ? half(value) : bits(value) >>> 16, i * 2)
}

function bits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]
}

/** Nearest half-precision number of one below 1. */
function half(value: number): number {
  const size = Math.abs(value)
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size))
  const steps = Math.round(size / 2 ** (exponent - 10))
  return (value < 0 ? 0x8000 : 0) + ((exponent + 14) << 10) + steps
}
