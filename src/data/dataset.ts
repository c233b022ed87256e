import { SwiftTunersError } from '../errors.js'
import { printed } from '../inspect/printed.js'
import { callable, checkArgument, checkOptions, integer, invalidArgument, number, type OptionTable, seed, where } from '../options.js'
import { jsonText } from './json-source.js'
import { mixed, random, share, shuffle } from './random.js'

/** Which pass over the data it is. */
export interface Pass {
  epoch: number
  seed: number
}

/** What a dataset is made of. */
export interface Recipe<T> {
  /** The rows of one pass. */
  open(pass: Pass): AsyncIterable<T>
  /** Rows that were dropped in the last pass. */
  skipped(): number
  /** For consoles. */
  name: string
}

/** How rows are put in random order. */
export interface ShuffleOptions {
  /** Another order for each seed, and for each epoch of a seed. Default: the Trainer's. */
  seed?: number
  /** Rows in memory, of which the next is drawn; Infinity for all. Default 1000. */
  bufferSize?: number
}

/** How rows are told apart. */
export interface SplitOptions {
  /** Another division for each seed. Default 0. */
  seed?: number
}

const count = integer({ min: 1 })
const buffer = where('an integer from 1 on, or Infinity', v => v === Infinity || count.accepts(v))
const SHUFFLE: OptionTable<ShuffleOptions> = { seed, bufferSize: buffer }
const SPLIT: OptionTable<SplitOptions> = { seed }

/** What a console shows of a dataset. */
export let nameOf: (dataset: Dataset) => string

/**
 * Rows that are read when they are asked for: a recipe of which each iteration opens its files anew. Nothing here changes a dataset; each
 * method gives a new one.
 *
 * `for await (const row of dataset)` gives the rows of the first epoch. A Trainer asks for each epoch (`forEpoch`), so that shuffled rows
 * have another order in each, the same whenever a run is resumed.
 */
export class Dataset<T = unknown> implements AsyncIterable<T> {
  readonly #recipe: Recipe<T>

  /** @internal `loadDataset` makes one. */
  constructor(recipe: Recipe<T>) {
    if (typeof recipe?.open !== 'function' || typeof recipe.skipped !== 'function') throw invalidArgument('recipe', 'Dataset: it cannot be made by hand; loadDataset makes one')
    this.#recipe = recipe
  }

  /** Rows that the last iteration dropped: bad ones of files, and those that nothing could be learned from. */
  get skipped(): number {
    return this.#recipe.skipped()
  }

  /** The rows of the first epoch. */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.forEpoch(0, 0)[Symbol.asyncIterator]()
  }

  /** The rows of an epoch (from 0); `seed` is that of shuffles that have none of their own. */
  forEpoch(epoch: number, seed: number): AsyncIterable<T> {
    checkArgument('forEpoch', 'epoch', epoch, integer({ min: 0 }))
    checkArgument('forEpoch', 'seed', seed, integer({ min: 0 }))
    return this.#recipe.open({ epoch, seed })
  }

  /** What a function makes of each row; `index` counts from 0. */
  map<U>(f: (row: T, index: number) => U | Promise<U>): Dataset<U> {
    checkArgument('map', 'f', f, callable)
    return this.#then('map', async function *(rows) {
      let index = 0
      for await (const row of rows) yield await f(row, index++)
    })
  }

  /** The rows that a function accepts. */
  filter(f: (row: T, index: number) => boolean | Promise<boolean>): Dataset<T> {
    checkArgument('filter', 'f', f, callable)
    return this.#then('filter', async function *(rows) {
      let index = 0
      for await (const row of rows) if (await f(row, index++)) yield row
    })
  }

  /** The rows in random order, another in each epoch: each is drawn from those in memory, whose place the next of the stream takes. */
  shuffle(options: ShuffleOptions = {}): Dataset<T> {
    const { seed: own, bufferSize = 1000 } = checkOptions('shuffle', options, SHUFFLE)
    return this.#then('shuffle', async function *(rows, { epoch, seed }) {
      const next = random(mixed(own ?? seed, epoch))
      const waiting: T[] = []
      for await (const row of rows) {
        if (waiting.length < bufferSize) {
          waiting.push(row)
          continue
        }
        const at = Math.floor(next() * waiting.length)
        yield waiting[at]
        waiting[at] = row
      }
      yield *shuffle(waiting, next)
    })
  }

  /** The first rows; no more are read. */
  take(n: number): Dataset<T> {
    checkArgument('take', 'n', n, integer({ min: 0 }))
    return this.#then('take', async function *(rows) {
      let left = n
      if (left > 0) {
        for await (const row of rows) {
          yield row
          if (--left === 0) return
        }
      }
    })
  }

  /** All rows but the first ones. */
  skip(n: number): Dataset<T> {
    checkArgument('skip', 'n', n, integer({ min: 0 }))
    return this.#then('skip', async function *(rows) {
      let left = n
      for await (const row of rows) if (left-- <= 0) yield row
    })
  }

  /** Lists of rows; the last may be shorter. */
  batch(n: number): Dataset<T[]> {
    checkArgument('batch', 'n', n, count)
    return this.#then('batch', async function *(rows) {
      let list: T[] = []
      for await (const row of rows) {
        list.push(row)
        if (list.length === n) {
          yield list
          list = []
        }
      }
      if (list.length > 0) yield list
    })
  }

  /**
   * A share of the rows, and the rest. A row's side follows from a hash of it alone: no pass is needed to count, equal rows are on the
   * same side, and more rows leave the others where they are.
   */
  split(share: number, options: SplitOptions = {}): [train: Dataset<T>, rest: Dataset<T>] {
    checkArgument('split', 'share', share, number({ min: 0, max: 1 }))
    const { seed = 0 } = checkOptions('split', options, SPLIT)
    const side = (first: boolean) => this.#then('split', async function *(rows) {
      for await (const row of rows) if (hashOf(row, seed) < share === first) yield row
    })
    return [side(true), side(false)]
  }

  /** How many rows the first epoch has: reads them all once. */
  async count(): Promise<number> {
    let n = 0
    for await (const _ of this) n++
    return n
  }

  /** All rows, in memory. */
  async toArray(): Promise<T[]> {
    const out: T[] = []
    for await (const row of this) out.push(row)
    return out
  }

  #then<U>(name: string, rows: (rows: AsyncIterable<T>, pass: Pass) => AsyncIterable<U>): Dataset<U> {
    const before = this.#recipe
    return new Dataset<U>({ name: `${before.name}.${name}`, skipped: before.skipped, open: pass => rows(before.open(pass), pass) })
  }

  static {
    nameOf = dataset => dataset.#recipe.name
  }
}

printed(Dataset as { prototype: Dataset }, dataset => `Dataset(${nameOf(dataset)})`)

function hashOf(row: unknown, seed: number): number {
  try {
    return share(jsonText(row), seed)
  } catch (cause) {
    throw new SwiftTunersError('ERR_DATASET', `split: rows are told apart by their JSON: ${(cause as Error).message}`, { cause })
  }
}
