import { native } from './errors.js'
import { NativeParameter } from './native/binding.js'
import { Tensor } from './tensor.js'

/**
 * A trainable parameter, by reference: a model's (`model.parameters()`), or one of your own for a head or a loss that is
 * written in TypeScript. Both go to an optimizer.
 *
 * ```ts
 * const weight = new Parameter('head.weight', Tensor.zeros([classes, hidden]))
 * const logits = embedding.matmul(weight.value.transpose(0, 1))
 * ```
 */
export class Parameter {
  readonly name: string
  readonly shape: number[]
  /** @internal */
  readonly native: NativeParameter

  /** Starts from a copy of `value`. */
  constructor(name: string, value: Tensor)
  /** @internal */
  constructor(name: string, value: NativeParameter)
  constructor(name: string, value: Tensor | NativeParameter) {
    this.name = name
    this.native = value instanceof Tensor ? native(() => new NativeParameter(name, value.native)) : value
    this.shape = native(() => this.native.shape)
  }

  /** The present value; what is computed from it has a gradient here. */
  get value(): Tensor {
    return native(() => new Tensor(this.native.value))
  }

  /** The accumulated gradient, or null. */
  get grad(): Tensor | null {
    const grad = native(() => this.native.grad)
    return grad ? new Tensor(grad) : null
  }

  zeroGrad(): void {
    this.native.zeroGrad()
  }
}
