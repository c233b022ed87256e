/** What options may be: one table per options object, from which its checks follow. */
import { SwiftTunersError } from './errors.js'
import { printable } from './text.js'

/** What an option must be. */
export interface Kind {
  /** For the message: `expected an integer from 1 on, found -1`. */
  readonly expected: string
  accepts(value: unknown): boolean
  /** What a value that is refused is called here, where one can tell. */
  readonly hint?: (value: unknown) => string | undefined
  /** The options inside of one that is an object itself. */
  readonly table?: Record<string, Kind>
}

/** The kinds of all options that `T` has; the compiler notices one without. */
export type OptionTable<T> = { readonly [K in keyof T]-?: Kind }

interface Range {
  /** The least value. */
  min?: number
  max?: number
  /** What a value must be greater than. */
  above?: number
}

const inside = (value: number, { min = -Infinity, max = Infinity, above = -Infinity }: Range) => value >= min && value <= max && value > above

function bounds({ min, max, above }: Range): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  if (above !== undefined) return ` above ${above}${max === undefined ? '' : ` and up to ${max}`}`
  if (min !== undefined) return ` from ${min} on`
  return max === undefined ? '' : ` up to ${max}`
}

/** A safe integer. */
export const integer = (range: Range = {}): Kind =>
  ({ expected: `an integer${bounds(range)}`, accepts: v => Number.isSafeInteger(v) && inside(v as number, range) })

/** A seed of random numbers. */
export const seed: Kind = integer({ min: 0 })

/** A finite number. */
export const number = (range: Range = {}): Kind =>
  ({ expected: `a number${bounds(range)}`, accepts: v => Number.isFinite(v) && inside(v as number, range) })

export const boolean: Kind = { expected: 'true or false', accepts: v => typeof v === 'boolean' }
export const string: Kind = { expected: 'a string', accepts: v => typeof v === 'string' }
/** A name, a path: a string that is not empty. */
export const text: Kind = { expected: 'a string that is not empty', accepts: v => typeof v === 'string' && v !== '' }
/** A file or folder. */
export const path: Kind = { expected: 'a path', accepts: v => typeof v === 'string' && v !== '' && !v.includes('\0') }
export const callable: Kind = { expected: 'a function', accepts: v => typeof v === 'function' }
/** By what it can do: test runners have realms of their own. */
export const signal: Kind = {
  expected: 'an AbortSignal',
  accepts: v => typeof (v as AbortSignal)?.aborted === 'boolean'
    && (['addEventListener', 'removeEventListener', 'throwIfAborted'] as const).every(name => typeof (v as AbortSignal)[name] === 'function'),
}

/** One of a few words. */
export const oneOf = (...words: string[]): Kind => ({ expected: words.join(' or '), accepts: v => words.includes(v as string) })

/** An object of a class. */
export const instance = (of: { readonly prototype: object }, what: string): Kind => ({ expected: what, accepts: v => v instanceof (of as new () => object) })

/** Whether a kind accepts each element; the holes of an array are elements, too. */
const each = (of: Kind, values: readonly unknown[]) => Array.from(values).every(x => of.accepts(x))

/** An array of which each element is of one kind. */
export const list = (of: Kind, least = 0): Kind =>
  ({ expected: `a list of which each is ${of.expected}`, accepts: v => Array.isArray(v) && v.length >= least && each(of, v) })

export const either = (...kinds: Kind[]): Kind => ({ expected: kinds.map(k => k.expected).join(', or '), accepts: v => kinds.some(k => k.accepts(v)) })

/** An object of which each value is of one kind. */
export const record = (of: Kind): Kind =>
  ({ expected: `an object of which each value is ${of.expected}`, accepts: v => isObject(v) && each(of, Object.values(v)) })

/** What a test of one's own accepts. */
export const where = (expected: string, accepts: (value: unknown) => boolean): Kind => ({ expected, accepts })

/** Options inside of an option. */
export const object = <T extends object>(table: OptionTable<T>): Kind =>
  ({ expected: 'an object', accepts: isObject, table: table as unknown as Record<string, Kind> })

/**
 * Refuses a name that the table does not have, with the nearest that it has, and a value that is not what the table says
 * (ERR_INVALID_CONFIG). `undefined` and `null` count as not given, and what it returns is without them. `hints` answer names of other
 * libraries, in camelCase.
 */
export function checkOptions<T extends object>(call: string, options: T, table: OptionTable<T>, hints: Record<string, string> = {}): T {
  check(call, '', options, table as unknown as Record<string, Kind>, hints)
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null)) as T
}

/** Refuses an argument that is not what it must be (ERR_INVALID_ARGUMENT). */
export function checkArgument(call: string, name: string, value: unknown, kind: Kind): void {
  if (!kind.accepts(value)) throw invalidArgument(name, refusal(call, name, value, kind))
}

/** Refuses what is not the native half that an object of a class stands on: the class is not made by hand. */
export function checkHandle(name: string, value: unknown, native: { readonly prototype: object }, source: string): void {
  if (!(value instanceof (native as new () => object))) throw invalidArgument(name, `${name}: it cannot be made by hand; ${source}`)
}

function refusal(call: string, name: string, value: unknown, kind: Kind): string {
  const hint = kind.hint?.(value)
  return `${call}: ${name}: expected ${kind.expected}, found ${shown(value)}${hint ? `; ${hint}` : ''}`
}

/** The options of one table that others go with. */
export function only<T extends object>(options: object, table: OptionTable<T>): T {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(table, name))) as T
}

/** Refuses the absence of options. */
export function requireOptions<T extends object>(call: string, options: T, ...names: (keyof T & string)[]): void {
  for (const name of names) if (options[name] === undefined || options[name] === null) throw invalid(name, `${call}: ${name}: missing`)
}

/** An option's error. */
export function invalid(option: string, message: string, nearest?: string[]): SwiftTunersError {
  return new SwiftTunersError('ERR_INVALID_CONFIG', message, { details: nearest ? { option, nearest } : { option } })
}

/** The error of an argument that is no option. */
export function invalidArgument(name: string, message: string): SwiftTunersError {
  return new SwiftTunersError('ERR_INVALID_ARGUMENT', message, { details: { option: name } })
}

function check(call: string, path: string, options: unknown, table: Record<string, Kind>, hints: Record<string, string>): void {
  if (!isObject(options)) throw invalid(path || 'options', `${call}: ${path ? `${path.slice(0, -1)}: ` : ''}expected an object of options, found ${shown(options)}`)
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (!Object.hasOwn(table, name)) throw unknown(call, path, name, Object.keys(table), hints)
    if (value === null) continue
    const kind = table[name]
    if (!kind.accepts(value)) throw invalid(path + name, refusal(call, path + name, value, kind))
    if (kind.table) check(call, `${path}${name}.`, value, kind.table, {})
  }
}

function unknown(call: string, path: string, name: string, names: string[], hints: Record<string, string>): SwiftTunersError {
  const text = `${call}: there is no option ${path}${printable(name)}`
  const camel = name.replace(/_+([a-zA-Z0-9])/g, (_, c: string) => c.toUpperCase())
  if (Object.hasOwn(hints, camel)) return invalid(path + name, `${text}; ${hints[camel]}`)
  const near = nearest(camel, names)
  const spelt = camel === name || !near ? '' : ' (names are in camelCase)'
  return invalid(path + name, near ? `${text}; did you mean ${path}${near}?${spelt}` : `${text}; there are ${names.join(', ')}`, near ? [near] : undefined)
}

/** The name that is most like another, if one is like it. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const wanted = name.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.ceil(wanted.length * 0.4)) + 1
  for (const candidate of names) {
    const other = candidate.toLowerCase()
    // `gradientAccumulationSteps` for `gradientAccumulation`
    const part = Math.min(wanted.length, other.length) >= 4 && (wanted.includes(other) || other.includes(wanted))
    const distance = wanted === other ? 0 : part ? 1 : edits(wanted, other)
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best
}

/** Levenshtein's distance. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]
}

export const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A value for a message. */
export function shown(value: unknown, depth = 0): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${printable(value.slice(0, 60))}…` : printable(value))
  if (typeof value === 'bigint') return `${value}n`
  if (Array.isArray(value)) {
    return depth > 2 ? '[…]' : `[${value.slice(0, 4).map(v => shown(v, depth + 1)).join(', ')}${value.length > 4 ? ', …' : ''}]`
  }
  if (typeof value === 'object' && value !== null) return `an object (${className(value)})`
  return typeof value === 'function' ? 'a function' : typeof value === 'symbol' ? 'a symbol' : String(value)
}

function className(value: object): string {
  const name: unknown = value.constructor?.name
  return typeof name === 'string' ? printable(name) : 'without a class'
}
