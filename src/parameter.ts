import { native } from './errors.js'
import { printed } from './inspect/printed.js'
import { NativeParameter } from './native/binding.js'
import { checkArgument, either, instance, string } from './options.js'
import { Tensor } from './tensor.js'

const VALUE = { ...either(instance(Tensor, ''), instance(NativeParameter, '')), expected: 'a Tensor' }

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
  /** What it is called in its model, or here. */
  readonly name: string
  /** Sizes of its dimensions. */
  readonly shape: number[]
  /** @internal */
  readonly native: NativeParameter

  /** Starts from a copy of `value`. */
  constructor(name: string, value: Tensor)
  /** @internal */
  constructor(name: string, value: NativeParameter)
  constructor(name: string, value: Tensor | NativeParameter) {
    checkArgument('Parameter', 'name', name, string)
    checkArgument('Parameter', 'value', value, VALUE)
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

  /** Drops the accumulated gradient. */
  zeroGrad(): void {
    native(() => this.native.zeroGrad())
  }

  /** What it is, for `JSON.stringify`. */
  toJSON(): { name: string; shape: number[] } {
    return { name: this.name, shape: this.shape }
  }
}

printed(Parameter, p => `Parameter ${p.name}: ${p.value}`)
