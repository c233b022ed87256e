import { native, nativeAsync, SwiftTunersError } from './errors.js'
import * as binding from './native/binding.js'
import { NativeStateDict, NativeTensor, NativeTensorList } from './native/binding.js'

export type DType = 'f64' | 'f32' | 'f16' | 'bf16' | 'i64' | 'u32' | 'u8'
export type Device = 'cpu' | 'cuda' | `cuda:${number}`
export type NestedNumbers = number[] | NestedNumbers[]
export type TensorData = Float32Array | Float64Array | BigInt64Array | Uint32Array | Int32Array | Uint8Array

interface TensorOptions {
  dtype?: DType
  device?: Device
}

/** Sizes of nested arrays; ragged ones are an error that says where. */
function nestedShape(data: NestedNumbers): number[] {
  const shape: number[] = []
  let level: unknown = data
  while (Array.isArray(level)) {
    shape.push(level.length)
    if (shape.length > 16) throw new SwiftTunersError('ERR_SHAPE', 'arrays are nested more than 16 deep')
    level = level[0]
  }
  return shape
}

function flatten(data: NestedNumbers, shape: number[]): number[] {
  const out: number[] = []
  const walk = (value: unknown, depth: number, path: string) => {
    if (depth === shape.length) {
      if (typeof value !== 'number') throw new SwiftTunersError('ERR_INVALID_ARGUMENT', `data${path}: expected a number, found ${typeof value}`)
      out.push(value)
      return
    }
    if (!Array.isArray(value) || value.length !== shape[depth]) {
      const found = Array.isArray(value) ? `${value.length} elements` : typeof value
      throw new SwiftTunersError('ERR_SHAPE', `data${path}: expected ${shape[depth]} elements as in its neighbours, found ${found}`)
    }
    for (let i = 0; i < value.length; i++) walk(value[i], depth + 1, `${path}[${i}]`)
  }
  walk(data, 0, '')
  return out
}

/** Numbers as a tensor of integers when all of them are, else of f32. */
function fromNumbers(data: NestedNumbers, dtype: DType | undefined, device: Device | undefined): NativeTensor {
  const shape = nestedShape(data)
  const flat = flatten(data, shape)
  if (dtype === 'i64') {
    const odd = flat.findIndex(v => !Number.isSafeInteger(v))
    if (odd >= 0) throw new SwiftTunersError('ERR_INVALID_ARGUMENT', `i64: ${flat[odd]} is no integer`)
    return NativeTensor.fromI64(BigInt64Array.from(flat, BigInt), shape, dtype, device)
  }
  if (dtype === undefined || dtype === 'f32') return NativeTensor.fromF32(Float32Array.from(flat), shape, 'f32', device)
  return NativeTensor.fromF64(Float64Array.from(flat), shape, dtype, device)
}

/**
 * A read-only n-dimensional array that lives in Rust. Operations are differentiable: what is computed from a model's output
 * can be a loss, so custom losses and heads are written in TypeScript, one native call per operation. Names, shapes and
 * broadcasting are PyTorch's.
 */
export class Tensor {
  /** @internal */
  readonly native: NativeTensor

  /** @internal */
  constructor(handle: NativeTensor) {
    this.native = handle
    native(() => handle.reportMemory())
  }

  /** Copies numbers in. Nested arrays give f32 unless `dtype` says otherwise; typed arrays keep their type (Int32 widens to i64). */
  static from(data: TensorData | NestedNumbers, shape?: number[], options: TensorOptions = {}): Tensor {
    const { dtype, device } = options
    return native(() => {
      if (Array.isArray(data)) {
        const tensor = new Tensor(fromNumbers(data, dtype, device))
        return shape ? tensor.reshape(...shape) : tensor
      }
      const dims = shape ?? [data.length]
      if (data instanceof Float32Array) return new Tensor(NativeTensor.fromF32(data, dims, dtype, device))
      if (data instanceof Float64Array) return new Tensor(NativeTensor.fromF64(data, dims, dtype, device))
      if (data instanceof BigInt64Array) return new Tensor(NativeTensor.fromI64(data, dims, dtype, device))
      if (data instanceof Int32Array) return new Tensor(NativeTensor.fromI32(data, dims, dtype, device))
      if (data instanceof Uint32Array) return new Tensor(NativeTensor.fromU32(data, dims, dtype, device))
      if (data instanceof Uint8Array) return new Tensor(NativeTensor.fromU8(data, dims, dtype, device))
      throw new TypeError('Tensor.from takes nested arrays of numbers or a typed array')
    })
  }

  static zeros(shape: number[], options: TensorOptions = {}): Tensor {
    return native(() => new Tensor(NativeTensor.zeros(shape, options.dtype ?? 'f32', options.device ?? 'cpu')))
  }

  /** Joins along an existing dimension. */
  static cat(tensors: Tensor[], dim = 0): Tensor {
    return native(() => new Tensor(listOf(tensors).cat(dim)))
  }

  /** Joins along a new dimension. */
  static stack(tensors: Tensor[], dim = 0): Tensor {
    return native(() => new Tensor(listOf(tensors).stack(dim)))
  }

  get shape(): number[] {
    return native(() => this.native.shape)
  }
  get dtype(): DType {
    return native(() => this.native.dtype) as DType
  }
  get device(): Device {
    return native(() => this.native.device) as Device
  }
  /** Whether a trainable parameter had a part in this value. */
  get requiresGrad(): boolean {
    return native(() => this.native.requiresGrad)
  }

  /** Copies the values out, row-major; 16-bit floats widen to Float32Array. */
  data(): Promise<TensorData> {
    return nativeAsync(() => this.native.data())
  }
  dataSync(): TensorData {
    return native(() => this.native.dataSync())
  }
  /** The single value of a scalar tensor. */
  item(): number {
    return native(() => this.native.item())
  }

  private unary(name: string): Tensor {
    return native(() => new Tensor(this.native.unary(name)))
  }

  add(other: Tensor | number): Tensor {
    return native(() => new Tensor(typeof other === 'number' ? this.native.affine(1, other) : this.native.add(operand(other))))
  }
  sub(other: Tensor | number): Tensor {
    return native(() => new Tensor(typeof other === 'number' ? this.native.affine(1, -other) : this.native.sub(operand(other))))
  }
  mul(other: Tensor | number): Tensor {
    return native(() => new Tensor(typeof other === 'number' ? this.native.affine(other, 0) : this.native.mul(operand(other))))
  }
  div(other: Tensor | number): Tensor {
    return native(() => new Tensor(typeof other === 'number' ? this.native.affine(1 / other, 0) : this.native.div(operand(other))))
  }
  neg(): Tensor { return this.unary('neg') }
  sqr(): Tensor { return this.unary('sqr') }
  sqrt(): Tensor { return this.unary('sqrt') }
  exp(): Tensor { return this.unary('exp') }
  log(): Tensor { return this.unary('log') }
  abs(): Tensor { return this.unary('abs') }
  tanh(): Tensor { return this.unary('tanh') }
  sigmoid(): Tensor { return this.unary('sigmoid') }
  relu(): Tensor { return this.unary('relu') }
  /** The exact form, with the error function. */
  gelu(): Tensor { return this.unary('gelu') }
  silu(): Tensor { return this.unary('silu') }

  /** `[.., m, k] · [.., k, n]` → `[.., m, n]`, leading dimensions broadcast. */
  matmul(other: Tensor): Tensor {
    return native(() => new Tensor(this.native.matmul(operand(other))))
  }
  transpose(dim0: number, dim1: number): Tensor {
    return native(() => new Tensor(this.native.transpose(dim0, dim1)))
  }
  /** One size may be -1: it is what is left. */
  reshape(...shape: number[] | [number[]]): Tensor {
    const dims = (Array.isArray(shape[0]) ? shape[0] : shape) as number[]
    return native(() => new Tensor(this.native.reshape(dims)))
  }
  unsqueeze(dim: number): Tensor {
    return native(() => new Tensor(this.native.unsqueeze(dim)))
  }
  /** Drops `dim` if its size is 1. */
  squeeze(dim: number): Tensor {
    return native(() => new Tensor(this.native.squeeze(dim)))
  }
  narrow(dim: number, start: number, length: number): Tensor {
    return native(() => new Tensor(this.native.narrow(dim, start, length)))
  }
  indexSelect(dim: number, index: Tensor): Tensor {
    return native(() => new Tensor(this.native.indexSelect(dim, operand(index))))
  }
  gather(dim: number, index: Tensor): Tensor {
    return native(() => new Tensor(this.native.gather(dim, operand(index))))
  }
  sum(dims?: number | number[], options: { keepDim?: boolean } = {}): Tensor {
    return native(() => new Tensor(this.native.sum(axes(dims), options.keepDim ?? false)))
  }
  mean(dims?: number | number[], options: { keepDim?: boolean } = {}): Tensor {
    return native(() => new Tensor(this.native.mean(axes(dims), options.keepDim ?? false)))
  }
  /** Largest values along `dim`; the gradient goes to the first of equal ones. */
  max(dim: number, options: { keepDim?: boolean } = {}): Tensor {
    return native(() => new Tensor(this.native.max(dim, options.keepDim ?? false)))
  }
  /** Positions of the largest values along `dim`, as i64. */
  argmax(dim: number): Tensor {
    return native(() => new Tensor(this.native.argmax(dim)))
  }
  softmax(dim: number): Tensor {
    return native(() => new Tensor(this.native.softmax(dim)))
  }
  logSoftmax(dim: number): Tensor {
    return native(() => new Tensor(this.native.logSoftmax(dim)))
  }
  /** Mean cross-entropy of `[.., classes]` against one class id per row; -100 is ignored. */
  crossEntropy(labels: Tensor | NestedNumbers): Tensor {
    const ids = labels instanceof Tensor ? labels : Tensor.from(labels, undefined, { dtype: 'i64' })
    return native(() => new Tensor(this.native.crossEntropy(ids.native)))
  }
  toDtype(dtype: DType): Tensor {
    return native(() => new Tensor(this.native.toDtype(dtype)))
  }
  toDevice(device: Device): Tensor {
    return native(() => new Tensor(this.native.toDevice(device)))
  }
  /** The same values without their history. */
  detach(): Tensor {
    return native(() => new Tensor(this.native.detach()))
  }

  /** From a scalar: adds to the gradients of every trainable parameter it was computed from. */
  backward(): Promise<void> {
    return nativeAsync(() => this.native.backward())
  }

  dispose(): void {
    this.native.dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

function axes(dims: number | number[] | undefined): number[] | undefined {
  return typeof dims === 'number' ? [dims] : dims
}

/** Refuses what is no tensor with a clear error. */
function operand(value: Tensor): NativeTensor {
  if (!(value instanceof Tensor)) throw new TypeError(`expected a Tensor, found ${typeof value}`)
  return value.native
}

function listOf(tensors: Tensor[]): NativeTensorList {
  const list = new NativeTensorList()
  for (const t of tensors) list.push(operand(t))
  return list
}

/** @internal Fills a native dictionary. */
export function stateDict(state: Record<string, Tensor>): NativeStateDict {
  const dict = new NativeStateDict()
  for (const [name, tensor] of Object.entries(state)) dict.set(name, operand(tensor))
  return dict
}

/** @internal A record without a prototype: names come from files. */
export function fromStateDict(dict: NativeStateDict): Record<string, Tensor> {
  const out: Record<string, Tensor> = Object.create(null)
  const tensors = dict.tensors()
  for (const [i, name] of dict.names().entries()) out[name] = new Tensor(tensors[i])
  return out
}

/** Reads a whole safetensors file. 8-, 16- and 32-bit signed integers widen to i64. */
export async function readSafetensors(path: string): Promise<Record<string, Tensor>> {
  return fromStateDict(await nativeAsync(() => binding.readSafetensors(String(path))))
}

/** Writes a safetensors file, whole or not at all. */
export async function writeSafetensors(path: string, tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): Promise<void> {
  await nativeAsync(() => binding.writeSafetensors(String(path), stateDict(tensors), metadata))
}
