/** Rows as a file has them, as rows of a known form. */
import { warn } from '../../errors.js'
import { isObject, shown } from '../../options.js'
import { printable } from '../../text.js'
import { BadRow, fileError, type Found, type Place, rowError } from '../place.js'
import type { Row } from '../rows.js'
import type { Tally } from '../tally.js'
import { claimed, firstNames, renamed } from './columns.js'
import { type Form, type Format, formOf } from './form.js'

/** Rows of a file that are looked at before its form is decided: those of one file have one form. */
const WINDOW = 256

/** How rows are read. */
export interface NormalizeOptions {
  format?: Format
  columns?: Record<string, string>
  keepColumns?: string[]
  strict?: boolean
}

/** The rows of one file; bad ones are given to `dropped`, or are errors. */
export async function *normalized(path: string, found: AsyncIterable<Found>, options: NormalizeOptions, dropped: Tally): AsyncGenerator<Row> {
  const reader = new Reader(path, options)
  const window: Found[] = []
  let decided = false
  const read = (one: Found): Row | undefined => {
    try {
      return reader.read(one)
    } catch (error) {
      if (!(error instanceof BadRow)) throw error
      const full = rowError(one.at, error.problem, error.column)
      if (options.strict) throw full
      dropped.add(full)
      return undefined
    }
  }
  const decide = () => {
    decided = true
    reader.decide(window)
  }
  for await (const one of found) {
    if (decided) {
      const row = read(one)
      if (row !== undefined) yield row
      continue
    }
    window.push(one)
    if (window.length < WINDOW) continue
    decide()
    for (const waiting of window.splice(0)) {
      const row = read(waiting)
      if (row !== undefined) yield row
    }
  }
  if (!decided) decide()
  for (const waiting of window) {
    const row = read(waiting)
    if (row !== undefined) yield row
  }
  reader.end()
}

/** Reads rows by the columns that the file has shown so far. */
class Reader {
  readonly #path: string
  readonly #options: NormalizeOptions
  readonly #columns = new Set<string>()
  #first: Map<string, string> = new Map()
  #second: Map<string, string> = new Map()
  #parts = new Set<string>()
  #form: Form | undefined

  constructor(path: string, options: NormalizeOptions) {
    this.#path = path
    this.#options = options
  }

  decide(window: Found[]): void {
    const rows = window.flatMap(one => ('row' in one && isObject(one.row) ? [one.row] : []))
    const { format = 'auto' } = this.#options
    if (rows.length === 0) return
    for (const row of rows) for (const name of Object.keys(row)) this.#columns.add(name)
    if (format === 'raw') return
    this.#rename(new Map())
    const example = renamed(rows.find(row => Object.values(row).some(value => value !== null)) ?? rows[0], this.#first)
    this.#form = formOf(format, new Set(Object.keys(renamed(Object.fromEntries([...this.#columns].map(name => [name, 0])), this.#first))), example)
    if (!this.#form) {
      const names = [...this.#columns].slice(0, 12).map(printable).join(', ')
      throw fileError(this.#path, `${format === 'auto' ? 'no form of rows is known' : `rows are not of format ${format}`}: the columns are ${names || 'none'}; say which is what with columns: { ${printable([...this.#columns][0] ?? 'name')}: 'query' }, or give the rows as they are with format: 'raw' and map()`)
    }
    this.#rename(this.#form.claims)
  }

  read(one: Found): Row | undefined {
    if ('problem' in one) throw new BadRow(one.problem)
    const { row } = one
    if (!isObject(row)) throw new BadRow(`expected an object, found ${shown(row)}`)
    const { format, keepColumns } = this.#options
    if (format === 'raw') return this.#raw(row)
    if (!this.#form) throw new BadRow('there are no columns')
    if (Object.keys(row).some(name => !this.#columns.has(name))) {
      for (const name of Object.keys(row)) this.#columns.add(name)
      this.#rename(this.#form.claims)
    }
    const out = this.#form.read(renamed(row, this.#first, this.#second), name => this.#parts.has(name))
    for (const name of keepColumns ?? []) {
      if (Object.hasOwn(row, name) && !Object.hasOwn(out, name)) Object.defineProperty(out, name, { value: (row as Record<string, unknown>)[name], writable: true, enumerable: true, configurable: true })
    }
    return out
  }

  end(): void {
    if (this.#columns.size === 0) return
    const low = new Set([...this.#columns].map(name => name.toLowerCase()))
    const absent = Object.keys(this.#options.columns ?? {}).filter(name => !low.has(name.toLowerCase()))
    if (absent.length > 0) warn(`${printable(this.#path)}: there is no column ${absent.map(printable).join(', ')}, which the option columns names`)
  }

  #rename(claims: ReadonlyMap<string, string>): void {
    this.#first = firstNames(this.#columns, this.#options.columns ?? {})
    const names = [...this.#columns].map(name => this.#first.get(name) ?? name)
    this.#second = claimed(names, claims)
    this.#parts = new Set(names.map(name => this.#second.get(name) ?? name))
  }

  #raw(row: object): Row {
    const names = this.#options.columns
    if (!names) return row as Row
    return Object.fromEntries(Object.entries(renamed(row, firstNames(Object.keys(row), names)))) as unknown as Row
  }
}

/** Rows of a program as if they stood in a file. */
export async function *foundIn(rows: Iterable<unknown> | AsyncIterable<unknown>, signal?: AbortSignal): AsyncGenerator<Found> {
  let row = 0
  for await (const value of rows) {
    signal?.throwIfAborted()
    const at: Place = { path: 'rows', row: row++ }
    yield { at, row: value }
  }
}
