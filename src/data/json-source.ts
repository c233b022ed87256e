/** JSON whose numbers and key order survive: what JavaScript's values cannot tell apart is remembered as text. */
import { SwiftTunersError } from '../errors.js'
import { checkArgument, invalidArgument, isObject, shown, string } from '../options.js'
import { printable } from '../text.js'

/** How deep values may be nested; Python's `json` stops near 1000. */
export const MAX_DEPTH = 512

/** The text of objects that would be written otherwise than they were read. */
const sources = new WeakMap<object, string>()

/**
 * Reads JSON as `JSON.parse` does, and remembers of objects and arrays that JavaScript would write otherwise how they stood there: `21.0`
 * and `1e-07` are the same numbers as `21` and `1e-7`, keys that look like integers move to the front, integers above 2^53 lose digits.
 * Chat templates write such values (tools, arguments of calls) as the file has them, which is what Python's do.
 *
 * An object that is changed afterwards is written as it then is. Fails with ERR_DATASET, also when values are nested deeper than 512.
 */
export function parseJson(text: string): unknown {
  checkArgument('parseJson', 'text', text, string)
  if (isDeep(text)) throw new SwiftTunersError('ERR_DATASET', `JSON: nested deeper than ${MAX_DEPTH}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new SwiftTunersError('ERR_DATASET', `JSON: ${printable((cause as Error).message)}`, { cause })
  }
  return isObject(value) || Array.isArray(value) ? (MAY_CHANGE.test(text) ? new Source(text).value() : value) : value
}

/** Decimals, exponents, many digits, and keys of digits; also where they stand in strings, which costs time only. */
const MAY_CHANGE = /[[:,\s]-?(?:\d+\.\d|\d+[eE]|\d{16})|"\d+"\s*:/

/** Whether brackets are nested too deeply, those in strings aside. */
function isDeep(text: string): boolean {
  if (text.length <= MAX_DEPTH) return false
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) i = endOfString(text, i) - 1
    else if (c === 0x5b || c === 0x7b) {
      if (++depth > MAX_DEPTH) return true
    } else if (c === 0x5d || c === 0x7d) depth--
  }
  return false
}

/** The place behind a string that begins at `from`. */
function endOfString(text: string, from: number): number {
  for (let i = text.indexOf('"', from + 1); i >= 0; i = text.indexOf('"', i + 1)) {
    let escapes = 0
    while (text.charCodeAt(i - 1 - escapes) === 0x5c) escapes++
    if (escapes % 2 === 0) return i + 1
  }
  return text.length
}

const NUMBER = /-?\d[\d.eE+-]*/y
const SPACE = /\s*/y

/** Reads a text that is known to be JSON once more, with the places of its objects. */
class Source {
  readonly #text: string
  #at = 0
  /** Whether the last value would be written otherwise. */
  #odd = false

  constructor(text: string) {
    this.#text = text
  }

  value(): unknown {
    this.#space()
    const from = this.#at
    switch (this.#text[from]) {
      case '{': return this.#noted(from, this.#object())
      case '[': return this.#noted(from, this.#array())
      case '"': return this.#string()
      case 't': return this.#word(4, true)
      case 'f': return this.#word(5, false)
      case 'n': return this.#word(4, null)
      default: return this.#number()
    }
  }

  #noted<T extends object>(from: number, value: T): T {
    if (this.#odd) sources.set(value, this.#text.slice(from, this.#at))
    return value
  }

  #object(): Record<string, unknown> {
    const out: Record<string, unknown> = {}
    const names = new Set<string>()
    let odd = false
    for (this.#at++, this.#space(); this.#text[this.#at] !== '}'; this.#comma()) {
      const name = this.#string()
      this.#space()
      this.#at++ // the colon
      names.add(name)
      // `__proto__` is a name like any other.
      Object.defineProperty(out, name, { value: this.value(), writable: true, enumerable: true, configurable: true })
      odd ||= this.#odd
    }
    this.#at++
    let place = 0
    const written = Object.keys(out)
    for (const name of names) odd ||= written[place++] !== name
    this.#odd = odd
    return out
  }

  #array(): unknown[] {
    const out: unknown[] = []
    let odd = false
    for (this.#at++, this.#space(); this.#text[this.#at] !== ']'; this.#comma()) {
      out.push(this.value())
      odd ||= this.#odd
    }
    this.#at++
    this.#odd = odd
    return out
  }

  #string(): string {
    const from = this.#at
    this.#at = endOfString(this.#text, from)
    this.#odd = false
    const inner = this.#text.slice(from + 1, this.#at - 1)
    return inner.includes('\\') ? JSON.parse(this.#text.slice(from, this.#at)) as string : inner
  }

  #number(): number {
    NUMBER.lastIndex = this.#at
    const token = NUMBER.exec(this.#text)![0]
    this.#at += token.length
    const value = Number(token)
    // Python reads -0 as the integer 0, too.
    this.#odd = token !== '-0' && JSON.stringify(value) !== token
    return value
  }

  #word<T>(length: number, value: T): T {
    this.#at += length
    this.#odd = false
    return value
  }

  #space(): void {
    SPACE.lastIndex = this.#at
    SPACE.exec(this.#text)
    this.#at = SPACE.lastIndex
  }

  #comma(): void {
    this.#space()
    if (this.#text[this.#at] === ',') this.#at++
    this.#space()
  }
}

/**
 * A value as JSON: objects that `parseJson` read and nobody changed as they stood there, big integers as digits, everything else as
 * `JSON.stringify` writes it. Refuses what JSON cannot hold (ERR_INVALID_ARGUMENT).
 */
export function jsonText(value: unknown): string {
  return written(value, []) ?? 'null'
}

/** `undefined` for what JSON leaves out. */
function written(value: unknown, inside: object[]): string | undefined {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number' && !Number.isFinite(value)) throw invalidArgument('value', `JSON cannot hold ${shown(value)}`)
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (inside.length >= MAX_DEPTH || inside.includes(value)) throw invalidArgument('value', `JSON: nested deeper than ${MAX_DEPTH}, or within itself`)
  const source = sources.get(value)
  if (source !== undefined && same(value, JSON.parse(source))) return source
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return written((toJSON as () => unknown).call(value), [...inside, value])
  inside.push(value)
  const text = Array.isArray(value)
    ? `[${Array.from(value, item => written(item, inside) ?? 'null').join()}]`
    : `{${Object.entries(value).flatMap(([name, inner]) => {
      const one = written(inner, inside)
      return one === undefined ? [] : [`${JSON.stringify(name)}:${one}`]
    }).join()}}`
  inside.pop()
  return text
}

/** Whether two values of JSON are equal. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false
  const names = Object.keys(a)
  return names.length === Object.keys(b).length
    && names.every(name => Object.hasOwn(b, name) && same((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]))
}
