/** Numbers of JavaScript that become tensors. */
import type { Device, DType } from './dtype.js'
import { SwiftTunersError } from './errors.js'
import { NativeTensor } from './native/binding.js'
import { shown, where } from './options.js'
import { MOST_DIMENSIONS } from './shapes.js'

/** Arrays in arrays, with numbers in the innermost ones; rows of one level are as long as each other. */
export type NestedNumbers = number[] | NestedNumbers[]

/** Values of a tensor, row-major. */
export type TensorData = Float32Array | Float64Array | BigInt64Array | Uint32Array | Int32Array | Uint8Array

/** Sizes of nested arrays, as the first ones have them. */
function sizes(data: NestedNumbers): number[] {
  const shape: number[] = []
  let level: unknown = data
  while (Array.isArray(level)) {
    shape.push(level.length)
    if (shape.length > MOST_DIMENSIONS) throw new SwiftTunersError('ERR_SHAPE', `arrays are nested more than ${MOST_DIMENSIONS} deep`)
    level = level[0]
  }
  return shape
}

/** The numbers in a row, and their shape; ragged arrays are an error that says where. */
function flatten(data: NestedNumbers): { flat: number[]; shape: number[] } {
  const flat: number[] = []
  const shape = sizes(data)
  const walk = (value: unknown, depth: number, path: string) => {
    if (depth === shape.length) {
      if (typeof value !== 'number') throw new SwiftTunersError('ERR_INVALID_ARGUMENT', `data${path}: expected a number, found ${shown(value)}`)
      flat.push(value)
      return
    }
    if (!Array.isArray(value) || value.length !== shape[depth]) {
      const found = Array.isArray(value) ? `${value.length} elements` : shown(value)
      throw new SwiftTunersError('ERR_SHAPE', `data${path}: expected ${shape[depth]} elements as in its neighbours, found ${found}`)
    }
    for (let i = 0; i < value.length; i++) walk(value[i], depth + 1, `${path}[${i}]`)
  }
  walk(data, 0, '')
  return { flat, shape }
}

/** Whether all numbers are integers; deeper than a tensor may be there are none. */
export function allIntegers(value: unknown, depth = 0): boolean {
  return Array.isArray(value) ? depth < MOST_DIMENSIONS && value.every(v => allIntegers(v, depth + 1)) : Number.isSafeInteger(value)
}

/** @internal Numbers as a tensor of integers when all of them are, else of f32. */
export function fromNumbers(data: NestedNumbers, dtype: DType | undefined, device: Device | undefined): NativeTensor {
  const { flat, shape } = flatten(data)
  if (dtype === 'i64') {
    const odd = flat.findIndex(v => !Number.isSafeInteger(v))
    if (odd >= 0) throw new SwiftTunersError('ERR_INVALID_ARGUMENT', `i64: ${flat[odd]} is no integer`)
    return NativeTensor.fromI64(BigInt64Array.from(flat, BigInt), shape, dtype, device)
  }
  if (dtype === undefined || dtype === 'f32') return NativeTensor.fromF32(Float32Array.from(flat), shape, 'f32', device)
  return NativeTensor.fromF64(Float64Array.from(flat), shape, dtype, device)
}

/** @internal A typed array as a tensor of its type, or another one. */
export function fromTyped(data: TensorData, dims: number[], dtype: DType | undefined, device: Device | undefined): NativeTensor {
  if (data instanceof Float32Array) return NativeTensor.fromF32(data, dims, dtype, device)
  if (data instanceof Float64Array) return NativeTensor.fromF64(data, dims, dtype, device)
  if (data instanceof BigInt64Array) return NativeTensor.fromI64(data, dims, dtype, device)
  if (data instanceof Int32Array) return NativeTensor.fromI32(data, dims, dtype, device)
  if (data instanceof Uint32Array) return NativeTensor.fromU32(data, dims, dtype, device)
  return NativeTensor.fromU8(data, dims, dtype, device)
}

const TYPED = [Float32Array, Float64Array, BigInt64Array, Int32Array, Uint32Array, Uint8Array]
/** What a tensor can be made of. */
export const VALUES = where(
  'nested arrays of numbers, or a Float32Array, Float64Array, BigInt64Array, Int32Array, Uint32Array or Uint8Array',
  v => Array.isArray(v) || TYPED.some(T => v instanceof T),
)
