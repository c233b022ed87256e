/** Values of columns: texts that hold lists, labels that are texts. */
import { isObject, shown } from '../../options.js'
import { parseJson } from '../json-source.js'
import { BadRow } from '../place.js'
import { parsePythonLiteral } from '../python-literal.js'

/** A text; numbers count as theirs. */
export function textOf(value: unknown, column: string): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  throw new BadRow(`expected text, found ${shown(value)}`, column)
}

/** What a text of JSON, or of Python's literals, holds; other values as they are. */
export function structured(value: unknown, column: string): unknown {
  if (typeof value !== 'string') return value
  try {
    return parseJson(value)
  } catch {
    try {
      return parsePythonLiteral(value)
    } catch {
      throw new BadRow(`expected a list or its text, found ${shown(value)}`, column)
    }
  }
}

/** An object, also as text. */
export function objectOf(value: unknown, column: string): Record<string, unknown> {
  const found = structured(value, column)
  if (!isObject(found)) throw new BadRow(`expected an object, found ${shown(value)}`, column)
  return found as Record<string, unknown>
}

/** A list, also as text. */
export function listOf(value: unknown, column: string): unknown[] {
  const found = structured(value, column)
  if (!Array.isArray(found)) throw new BadRow(`expected a list, found ${shown(value)}`, column)
  return found
}

/** A class's number, or whether an answer is good; text files have both as text. */
export function labelOf(value: unknown): number | boolean {
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) return value
  if (typeof value === 'string') {
    const low = value.trim().toLowerCase()
    if (low === 'true' || low === 'false') return low === 'true'
    if (/^-?\d+(\.\d+)?$/.test(low)) return Number(low)
  }
  throw new BadRow(`expected a class's number, true or false, found ${shown(value)}`, 'label')
}

/** A list of token ids. */
export function idsOf(value: unknown, column: string): number[] {
  const list = ArrayBuffer.isView(value) ? Array.from(value as unknown as Iterable<number>, Number) : listOf(value, column)
  if (!list.every(id => Number.isSafeInteger(id))) throw new BadRow('expected a list of integers', column)
  return list as number[]
}
