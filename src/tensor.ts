import { device, type Device, dtype, type DType } from './dtype.js'
import { native, nativeAsync } from './errors.js'
import { printed } from './inspect/printed.js'
import { tensorText } from './inspect/tensor.js'
import { NativeTensor, NativeTensorList } from './native/binding.js'
import { fromNumbers, fromTyped, type NestedNumbers, type TensorData, VALUES } from './numbers.js'
import { boolean, checkArgument, checkHandle, checkOptions, either, instance, list, type OptionTable, where } from './options.js'
import { DIMENSION, DIMENSIONS, OPEN_SHAPE, SHAPE, SIZE } from './shapes.js'

/** What a tensor is made as. */
export interface TensorOptions {
  /** Default: f32 for arrays of numbers, or as a typed array has it. */
  dtype?: DType
  /** Default cpu. */
  device?: Device
}

/** What becomes of dimensions that are summed up. */
export interface ReduceOptions {
  /** They stay, with size 1. Default false. */
  keepDim?: boolean
}

const OPTIONS: OptionTable<TensorOptions> = { dtype, device }
const REDUCE: OptionTable<ReduceOptions> = { keepDim: boolean }

/**
 * A read-only n-dimensional array that lives in Rust. Operations are differentiable: what is computed from a model's output
 * can be a loss, so custom losses and heads are written in TypeScript, one native call per operation. Names, shapes and
 * broadcasting are PyTorch's. `dim` counts from the end where it is negative.
 */
export class Tensor {
  /** @internal */
  readonly native: NativeTensor

  /** @internal */
  constructor(handle: NativeTensor) {
    checkHandle('Tensor', handle, NativeTensor, 'Tensor.from makes one of numbers')
    this.native = handle
    native(() => handle.reportMemory())
  }

  /** Copies numbers in. Nested arrays give f32 unless `dtype` says otherwise; typed arrays keep their type (Int32 widens to i64). */
  static from(data: TensorData | NestedNumbers, shape?: number[], options: TensorOptions = {}): Tensor {
    checkArgument('Tensor.from', 'data', data, VALUES)
    if (shape !== undefined && shape !== null) checkArgument('Tensor.from', 'shape', shape, SHAPE)
    const { dtype, device } = checkOptions('Tensor.from', options, OPTIONS)
    return native(() => {
      if (!Array.isArray(data)) return new Tensor(fromTyped(data, shape ?? [data.length], dtype, device))
      const made = new Tensor(fromNumbers(data, dtype, device))
      return shape ? made.reshape(...shape) : made
    })
  }

  /** Zeros, f32 unless `dtype` says otherwise. */
  static zeros(shape: number[], options: TensorOptions = {}): Tensor {
    checkArgument('Tensor.zeros', 'shape', shape, SHAPE)
    const { dtype = 'f32', device = 'cpu' } = checkOptions('Tensor.zeros', options, OPTIONS)
    return native(() => new Tensor(NativeTensor.zeros(shape, dtype, device)))
  }

  /** Joins along an existing dimension. */
  static cat(tensors: Tensor[], dim = 0): Tensor {
    const given = listOf('Tensor.cat', tensors, dim)
    return native(() => new Tensor(given.cat(dim)))
  }

  /** Joins along a new dimension. */
  static stack(tensors: Tensor[], dim = 0): Tensor {
    const given = listOf('Tensor.stack', tensors, dim)
    return native(() => new Tensor(given.stack(dim)))
  }

  /** Sizes of the dimensions, the outermost first. */
  get shape(): number[] {
    return native(() => this.native.shape)
  }
  /** The type of the elements. */
  get dtype(): DType {
    return native(() => this.native.dtype) as DType
  }
  /** Where it is. */
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
  /** The same at once: blocks until it is computed. */
  dataSync(): TensorData {
    return native(() => this.native.dataSync())
  }
  /** The single value of a scalar tensor. */
  item(): number {
    return native(() => this.native.item())
  }

  #unary(name: string): Tensor {
    return native(() => new Tensor(this.native.unary(name)))
  }

  #along(call: 'argmax' | 'softmax' | 'logSoftmax' | 'unsqueeze' | 'squeeze', dim: number): Tensor {
    checkArgument(call, 'dim', dim, DIMENSION)
    return native(() => new Tensor(this.native[call](dim)))
  }

  #picked(call: 'indexSelect' | 'gather', dim: number, index: Tensor): Tensor {
    checkArgument(call, 'dim', dim, DIMENSION)
    checkArgument(call, 'index', index, TENSOR)
    return native(() => new Tensor(this.native[call](dim, index.native)))
  }

  #reduced(call: 'sum' | 'mean', dims: number | number[] | undefined, options: ReduceOptions): Tensor {
    if (dims !== undefined && dims !== null) checkArgument(call, 'dims', dims, DIMENSIONS)
    const { keepDim = false } = checkOptions(call, options, REDUCE)
    return native(() => new Tensor(this.native[call](typeof dims === 'number' ? [dims] : dims, keepDim)))
  }

  /** A tensor goes to an operation of its own, a number to `scale · x + shift`. */
  #with(call: 'add' | 'sub' | 'mul' | 'div', other: Tensor | number, affine: (number: number) => [scale: number, shift: number]): Tensor {
    checkArgument(call, 'other', other, TERM)
    return native(() => new Tensor(other instanceof Tensor ? this.native[call](other.native) : this.native.affine(...affine(other))))
  }

  /** `this + other`, broadcast. */
  add(other: Tensor | number): Tensor {
    return this.#with('add', other, n => [1, n])
  }
  /** `this - other`, broadcast. */
  sub(other: Tensor | number): Tensor {
    return this.#with('sub', other, n => [1, -n])
  }
  /** `this * other`, element by element, broadcast. */
  mul(other: Tensor | number): Tensor {
    return this.#with('mul', other, n => [n, 0])
  }
  /** `this / other`, element by element, broadcast. */
  div(other: Tensor | number): Tensor {
    return this.#with('div', other, n => [1 / n, 0])
  }
  /** `-x` */
  neg(): Tensor { return this.#unary('neg') }
  /** `x²` */
  sqr(): Tensor { return this.#unary('sqr') }
  /** `√x` */
  sqrt(): Tensor { return this.#unary('sqrt') }
  /** `eˣ` */
  exp(): Tensor { return this.#unary('exp') }
  /** The natural logarithm. */
  log(): Tensor { return this.#unary('log') }
  /** `|x|` */
  abs(): Tensor { return this.#unary('abs') }
  /** The hyperbolic tangent. */
  tanh(): Tensor { return this.#unary('tanh') }
  /** `1 / (1 + e⁻ˣ)` */
  sigmoid(): Tensor { return this.#unary('sigmoid') }
  /** `max(x, 0)` */
  relu(): Tensor { return this.#unary('relu') }
  /** The exact form, with the error function. */
  gelu(): Tensor { return this.#unary('gelu') }
  /** `x · sigmoid(x)` */
  silu(): Tensor { return this.#unary('silu') }

  /** `[.., m, k] · [.., k, n]` → `[.., m, n]`, leading dimensions broadcast. */
  matmul(other: Tensor): Tensor {
    checkArgument('matmul', 'other', other, TENSOR)
    return native(() => new Tensor(this.native.matmul(other.native)))
  }
  /** Exchanges two dimensions. */
  transpose(dim0: number, dim1: number): Tensor {
    checkArgument('transpose', 'dim0', dim0, DIMENSION)
    checkArgument('transpose', 'dim1', dim1, DIMENSION)
    return native(() => new Tensor(this.native.transpose(dim0, dim1)))
  }
  /** One size may be -1: it is what is left. */
  reshape(...shape: number[] | [number[]]): Tensor {
    const dims = (Array.isArray(shape[0]) ? shape[0] : shape) as number[]
    checkArgument('reshape', 'shape', dims, OPEN_SHAPE)
    return native(() => new Tensor(this.native.reshape(dims)))
  }
  /** Puts a dimension of size 1 at `dim`. */
  unsqueeze(dim: number): Tensor {
    return this.#along('unsqueeze', dim)
  }
  /** Drops `dim` if its size is 1. */
  squeeze(dim: number): Tensor {
    return this.#along('squeeze', dim)
  }
  /** `length` places of `dim`, from `start` on. */
  narrow(dim: number, start: number, length: number): Tensor {
    checkArgument('narrow', 'dim', dim, DIMENSION)
    checkArgument('narrow', 'start', start, SIZE)
    checkArgument('narrow', 'length', length, SIZE)
    return native(() => new Tensor(this.native.narrow(dim, start, length)))
  }
  /** The places of `dim` that a one-dimensional tensor of integers names. */
  indexSelect(dim: number, index: Tensor): Tensor {
    return this.#picked('indexSelect', dim, index)
  }
  /** Of each place of `index` the value that it names along `dim`; it has as many dimensions. */
  gather(dim: number, index: Tensor): Tensor {
    return this.#picked('gather', dim, index)
  }
  /** The sum over some dimensions, or all. */
  sum(dims?: number | number[], options: ReduceOptions = {}): Tensor {
    return this.#reduced('sum', dims, options)
  }
  /** The mean over some dimensions, or all. */
  mean(dims?: number | number[], options: ReduceOptions = {}): Tensor {
    return this.#reduced('mean', dims, options)
  }
  /** Largest values along `dim`; the gradient goes to the first of equal ones. */
  max(dim: number, options: ReduceOptions = {}): Tensor {
    checkArgument('max', 'dim', dim, DIMENSION)
    const { keepDim = false } = checkOptions('max', options, REDUCE)
    return native(() => new Tensor(this.native.max(dim, keepDim)))
  }
  /** Positions of the largest values along `dim`, as i64. */
  argmax(dim: number): Tensor {
    return this.#along('argmax', dim)
  }
  /** Shares along `dim` that add up to 1. */
  softmax(dim: number): Tensor {
    return this.#along('softmax', dim)
  }
  /** Their logarithms. */
  logSoftmax(dim: number): Tensor {
    return this.#along('logSoftmax', dim)
  }
  /** Mean cross-entropy of `[.., classes]` against one class id per row; -100 is ignored. */
  crossEntropy(labels: Tensor | NestedNumbers): Tensor {
    const ids = labels instanceof Tensor ? labels : Tensor.from(labels, undefined, { dtype: Array.isArray(labels) ? 'i64' : undefined })
    return native(() => new Tensor(this.native.crossEntropy(ids.native)))
  }
  /** The same values as another type. */
  toDtype(to: DType): Tensor {
    checkArgument('toDtype', 'dtype', to, dtype)
    return native(() => new Tensor(this.native.toDtype(to)))
  }
  /** The same values on another device. */
  toDevice(to: Device): Tensor {
    checkArgument('toDevice', 'device', to, device)
    return native(() => new Tensor(this.native.toDevice(to)))
  }
  /** The same values without their history. */
  detach(): Tensor {
    return native(() => new Tensor(this.native.detach()))
  }

  /** From a scalar: adds to the gradients of every trainable parameter it was computed from. */
  backward(): Promise<void> {
    return nativeAsync(() => this.native.backward())
  }

  /** What it is, for `JSON.stringify`; its values are `data()`'s. */
  toJSON(): { shape: number[]; dtype: DType; device: Device } {
    return { shape: this.shape, dtype: this.dtype, device: this.device }
  }

  /** Gives its memory back now; calling it again does nothing. */
  dispose(): void {
    this.native.dispose()
  }
  /** `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

const TENSOR = instance(Tensor, 'a Tensor')
const TERM = either(TENSOR, where('a number', v => typeof v === 'number'))

function listOf(call: string, tensors: Tensor[], dim: number): NativeTensorList {
  checkArgument(call, 'tensors', tensors, list(TENSOR))
  checkArgument(call, 'dim', dim, DIMENSION)
  const all = new NativeTensorList()
  for (const t of tensors) all.push(t.native)
  return all
}

printed(Tensor, tensorText)
