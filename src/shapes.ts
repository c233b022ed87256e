/** What shapes and dimensions may be. */
import { either, list, where } from './options.js'

/** As many dimensions as a tensor may have here. */
export const MOST_DIMENSIONS = 16

export const DIMENSION = where('a dimension, an integer (negative ones count from the end)', v => Number.isInteger(v) && Math.abs(v as number) < 2 ** 31)
export const DIMENSIONS = either(DIMENSION, list(DIMENSION))
export const SIZE = where('a size, an integer from 0 on', v => Number.isInteger(v) && (v as number) >= 0 && (v as number) < 2 ** 32)
const isList = (value: unknown): value is unknown[] => Array.isArray(value) && value.length <= MOST_DIMENSIONS
export const SHAPE = where(`a shape, a list of at most ${MOST_DIMENSIONS} sizes`, v => isList(v) && Array.from(v).every(SIZE.accepts))
export const OPEN_SHAPE = where(`a shape, a list of at most ${MOST_DIMENSIONS} sizes of which one may be -1`, v => isList(v) && Array.from(v).every(s => s === -1 || SIZE.accepts(s)))
