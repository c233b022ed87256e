/** Files of which each line is a row. */
import type { Found } from '../place.js'
import { BadRow } from '../place.js'
import { bytesOf, decoded, MAX_ROW } from './bytes.js'

const TOO_LONG = `a row of more than ${MAX_ROW / 2 ** 20} MiB`

interface Line {
  number: number
  /** Nothing of a line that is too long. */
  bytes?: Buffer
}

/** The lines of a file, without their ends; what is left of a line that is too long is passed over. */
async function *linesOf(path: string, signal?: AbortSignal): AsyncGenerator<Line> {
  let parts: Buffer[] = []
  let size = 0
  let number = 1
  const add = (part: Buffer) => {
    size += part.length
    if (size > MAX_ROW) parts = []
    else if (part.length > 0) parts.push(part)
  }
  const line = (): Line => {
    const whole = parts.length === 1 ? parts[0] : Buffer.concat(parts)
    const end = whole.at(-1) === 0x0d ? whole.length - 1 : whole.length
    const out = size > MAX_ROW ? { number } : { number, bytes: whole.subarray(0, end) }
    number++
    parts = []
    size = 0
    return out
  }
  for await (const chunk of bytesOf(path, signal)) {
    let from = 0
    for (let to = chunk.indexOf(0x0a); to >= 0; to = chunk.indexOf(0x0a, from)) {
      add(chunk.subarray(from, to))
      yield line()
      from = to + 1
    }
    add(chunk.subarray(from))
  }
  if (size > 0) yield line()
}

/** What each line is as a value; lines for which `parse` gives `undefined` are no rows. */
export async function *readLines(path: string, parse: (text: string) => unknown, signal?: AbortSignal): AsyncGenerator<Found> {
  for await (const { number, bytes } of linesOf(path, signal)) {
    const at = { path, line: number }
    if (!bytes) {
      yield { at, problem: TOO_LONG }
      continue
    }
    const text = decoded(bytes)
    if (text === undefined) {
      yield { at, problem: 'not UTF-8' }
      continue
    }
    const found = outcome(() => parse(text))
    if ('problem' in found) yield { at, problem: found.problem }
    else if (found.row !== undefined) yield { at, row: found.row }
  }
}

/** What a parser gives, or what it complains of. */
export function outcome(parse: () => unknown): { row: unknown } | { problem: string } {
  try {
    return { row: parse() }
  } catch (error) {
    return { problem: error instanceof BadRow ? error.problem : (error as Error).message }
  }
}
