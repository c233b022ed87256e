/** What losses over log-probabilities are made of. They are computed in f64: a few numbers per row, of which differences are taken. */
import { checkArgument, invalidArgument, isObject, shown, where } from '../options.js'
import { Tensor } from '../tensor.js'

/** Numbers, one for each row: a tensor, or what it is made of. */
export type Numbers = Tensor | number[]

const OBJECT = where('an object of tensors and numbers by name', isObject)

/** Refuses what is no object of arguments. */
export function checkGiven(call: string, name: string, given: unknown): void {
  checkArgument(call, name, given, OBJECT)
}

/** In f64. `name` is the argument's, `rows` how many there must be. */
export function precise(call: string, name: string, values: Numbers | undefined, rows?: number): Tensor {
  const tensor = values instanceof Tensor ? values : Array.isArray(values) && values.every(v => typeof v === 'number') ? Tensor.from(values, undefined, { dtype: 'f64' }) : undefined
  if (tensor === undefined) throw invalidArgument(name, `${call}: ${name}: expected a tensor or numbers, one for each row, found ${shown(values)}`)
  if (rows !== undefined && (tensor.shape.length !== 1 || tensor.shape[0] !== rows)) {
    throw invalidArgument(name, `${call}: ${name}: expected ${rows} values, one for each row, found ${JSON.stringify(tensor.shape)}`)
  }
  return tensor.dtype === 'f64' ? tensor : tensor.toDtype('f64')
}

/** As many values as the first rows have, or zeros. */
export const orZeros = (call: string, name: string, values: Numbers | undefined, rows: number): Tensor =>
  values === undefined ? Tensor.zeros([rows], { dtype: 'f64' }) : precise(call, name, values, rows)

/** Below it `σ` has no value in f64 that has a logarithm, and `log σ(x)` is `x`. */
const STEEP = -700

/**
 * `log σ(x)`. Not by way of `|x|`, which has no gradient at 0: where a fresh adapter, which is its own reference, begins.
 */
export const logSigmoid = (x: Tensor): Tensor => {
  const inside = atLeast(x, STEEP)
  return inside.sigmoid().log().add(x.sub(inside))
}

/** `max(x, least)`; where they are equal the gradient is none. */
export const atLeast = (x: Tensor, least: number): Tensor => x.sub(least).relu().add(least)
/** `min(x, most)`. */
export const atMost = (x: Tensor, most: number): Tensor => x.sub(most).neg().relu().neg().add(most)
/** The smaller of two; of equal ones the first. */
export const smaller = (a: Tensor, b: Tensor): Tensor => a.sub(a.sub(b).relu())

/** `log(1 - e^x)` for `x < 0`. */
export const logOneMinusExp = (x: Tensor): Tensor => x.exp().neg().add(1).log()
