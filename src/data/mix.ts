/** Several datasets as one. */
import { SwiftTunersError } from '../errors.js'
import { checkArgument, checkOptions, oneOf, type OptionTable, seed, shown, where } from '../options.js'
import { Dataset, type Pass } from './dataset.js'
import { mixed, random } from './random.js'

/** How rows of several datasets alternate. */
export interface InterleaveOptions {
  /** How often each is drawn from, in any unit. Default: one after the other in turn. */
  probabilities?: number[]
  /** Of the draws. Default: the Trainer's. */
  seed?: number
  /**
   * `first-exhausted` ends with the first dataset that has no more rows; `all-exhausted` begins datasets anew until each was read to its
   * end. Default first-exhausted.
   */
  stoppingStrategy?: 'first-exhausted' | 'all-exhausted'
}

const INTERLEAVE: OptionTable<InterleaveOptions> = {
  probabilities: where('a list of numbers above 0', v => Array.isArray(v) && v.length > 0 && Array.from(v).every(p => Number.isFinite(p) && p > 0)),
  seed,
  stoppingStrategy: oneOf('first-exhausted', 'all-exhausted'),
}

const datasets = where('a list of datasets', v => Array.isArray(v) && v.length > 0 && Array.from(v).every(d => d instanceof Dataset))

/** Rows of several datasets by turns, or drawn by probabilities (`interleave_datasets`). */
export function interleave<T>(sources: Dataset<T>[], options: InterleaveOptions = {}): Dataset<T> {
  checkArgument('interleave', 'sources', sources, datasets)
  const { probabilities, seed: own, stoppingStrategy = 'first-exhausted' } = checkOptions('interleave', options, INTERLEAVE)
  if (probabilities && probabilities.length !== sources.length) {
    throw new SwiftTunersError('ERR_INVALID_CONFIG', `interleave: probabilities: ${shown(probabilities)} for ${sources.length} datasets`, { details: { option: 'probabilities' } })
  }
  return new Dataset<T>({
    name: `interleave(${sources.length})`,
    skipped: () => sources.reduce((sum, source) => sum + source.skipped, 0),
    open: pass => alternated(sources, pass, choices(sources.length, probabilities, random(mixed(own ?? pass.seed, pass.epoch, 1))), stoppingStrategy === 'all-exhausted'),
  })
}

function *choices(length: number, probabilities: number[] | undefined, next: () => number): Generator<number> {
  const total = probabilities?.reduce((sum, p) => sum + p, 0) ?? 0
  for (let turn = 0; ; turn++) {
    if (!probabilities) {
      yield turn % length
      continue
    }
    let left = next() * total
    yield Math.max(0, probabilities.findIndex(p => (left -= p) < 0))
  }
}

async function *alternated<T>(sources: Dataset<T>[], pass: Pass, turns: Generator<number>, all: boolean): AsyncGenerator<T> {
  const open = (i: number) => sources[i].forEpoch(pass.epoch, pass.seed)[Symbol.asyncIterator]()
  const rows = sources.map((_, i) => open(i))
  const done = sources.map(() => false)
  try {
    // One row ahead: that a dataset has ended shows with its last row.
    const ahead = await Promise.all(rows.map(it => it.next()))
    for (const [i, next] of ahead.entries()) done[i] = next.done === true
    if (all ? done.every(Boolean) : done.some(Boolean)) return
    for (const i of turns) {
      if (ahead[i].done) {
        if (!all) return
        rows[i] = open(i)
        ahead[i] = await rows[i].next()
        if (ahead[i].done) continue
      }
      yield ahead[i].value as T
      ahead[i] = await rows[i].next()
      done[i] ||= ahead[i].done === true
      if (all && done.every(Boolean)) return
    }
  } finally {
    await Promise.all(rows.map(it => it.return?.()))
  }
}

/** The rows of several datasets one after the other. */
export function concatenate<T>(...sources: Dataset<T>[]): Dataset<T> {
  checkArgument('concatenate', 'sources', sources, datasets)
  return new Dataset<T>({
    name: `concatenate(${sources.length})`,
    skipped: () => sources.reduce((sum, source) => sum + source.skipped, 0),
    async *open({ epoch, seed }) {
      for (const source of sources) yield *source.forEpoch(epoch, seed)
    },
  })
}
