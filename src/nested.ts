/** Nested arrays of numbers. */
import { SwiftTunersError } from './errors.js'
import { shown } from './options.js'

/** Arrays in arrays, with numbers in the innermost ones; rows of one level are as long as each other. */
export type NestedNumbers = number[] | NestedNumbers[]

/** As many dimensions as a tensor may have here. */
export const MOST_DIMENSIONS = 16

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
export function flatten(data: NestedNumbers): { flat: number[]; shape: number[] } {
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
