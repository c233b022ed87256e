/** JSON files: an array of rows, or rows one after the other; one row in memory at a time. */
import { parseJson } from '../json-source.js'
import { fileError, type Found } from '../place.js'
import { bytesOf, decoded, MAX_ROW } from './bytes.js'
import { outcome, readLines } from './lines.js'

/** A row for each line that is not blank. */
export const readJsonLines = (path: string, signal?: AbortSignal): AsyncGenerator<Found> =>
  readLines(path, text => (text.trim() === '' ? undefined : parseJson(text)), signal)

/** A row for each element of the array that the file holds, or for each of its values. */
export async function *readJson(path: string, signal?: AbortSignal): AsyncGenerator<Found> {
  const splitter = new Splitter(path)
  for await (const chunk of bytesOf(path, signal)) yield *splitter.push(chunk)
  yield *splitter.end()
}

const isSpace = (c: number) => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09

/** Cuts values out of bytes, by their brackets; whether they are JSON is found out value by value. */
class Splitter {
  readonly #path: string
  /** Whether the values are an array's, and where in it the bytes are. */
  #array: 'no' | 'unknown' | 'value' | 'comma' | 'closed' = 'unknown'
  #parts: Buffer[] = []
  #size = 0
  #line = 1
  /** Where the value begins. */
  #start = 0
  #within: 'nothing' | 'value' | 'string' | 'escape' = 'nothing'
  #depth = 0
  #row = 0

  constructor(path: string) {
    this.#path = path
  }

  *push(chunk: Buffer): Generator<Found> {
    let from = 0
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i]
      if (c === 0x0a) this.#line++
      if (this.#within === 'nothing') {
        if (isSpace(c) || this.#between(c)) continue
        this.#within = c === 0x22 ? 'string' : 'value'
        this.#depth = c === 0x7b || c === 0x5b ? 1 : 0
        this.#start = this.#line
        from = i
      } else if (this.#within === 'escape') this.#within = 'string'
      else if (this.#within === 'string') {
        if (c === 0x5c) this.#within = 'escape'
        else if (c === 0x22) this.#within = 'value'
      } else if (c === 0x22) this.#within = 'string'
      else if (c === 0x7b || c === 0x5b) this.#depth++
      else if (this.#depth > 0) {
        if ((c === 0x7d || c === 0x5d) && --this.#depth === 0) yield this.#cut(chunk.subarray(from, i + 1))
      } else if (isSpace(c) || c === 0x2c || c === 0x5d) {
        // A number or a word ends where something else begins.
        yield this.#cut(chunk.subarray(from, i))
        if (!isSpace(c)) this.#between(c)
      }
    }
    if (this.#within !== 'nothing') this.#keep(chunk.subarray(from))
  }

  *end(): Generator<Found> {
    if (this.#within === 'value' && this.#depth === 0) yield this.#cut(Buffer.alloc(0))
    if (this.#within !== 'nothing' || this.#array === 'value' || this.#array === 'comma') throw fileError(this.#path, `cut off after row ${this.#row - 1}`)
  }

  /** Whether a byte between values belongs to the array. */
  #between(c: number): boolean {
    if (this.#array === 'unknown') {
      this.#array = c === 0x5b ? 'value' : 'no'
      return c === 0x5b
    }
    if (this.#array === 'value') {
      if (c !== 0x5d) return false
      this.#array = 'closed'
      return true
    }
    if (this.#array === 'comma' && (c === 0x2c || c === 0x5d)) {
      this.#array = c === 0x2c ? 'value' : 'closed'
      return true
    }
    if (this.#array === 'no') return false
    throw fileError(this.#path, `line ${this.#line}: ${this.#array === 'comma' ? 'expected a comma or the end of the array' : 'more after the end of the array'}`)
  }

  #keep(part: Buffer): void {
    this.#size += part.length
    if (this.#size > MAX_ROW) this.#parts = []
    else this.#parts.push(Buffer.from(part))
  }

  #cut(last: Buffer): Found {
    this.#keep(last)
    const at = { path: this.#path, line: this.#start }
    const bytes = this.#size > MAX_ROW ? undefined : Buffer.concat(this.#parts)
    this.#parts = []
    this.#size = 0
    this.#within = 'nothing'
    this.#row++
    if (this.#array === 'value') this.#array = 'comma'
    const text = bytes && decoded(bytes)
    if (text === undefined) return { at, problem: bytes ? 'not UTF-8' : `a row of more than ${MAX_ROW / 2 ** 20} MiB` }
    return { at, ...outcome(() => parseJson(text)) }
  }
}
