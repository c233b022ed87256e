import { SwiftTunersError } from '../errors.js'
import { HUB } from '../hub/options.js'
import {
  boolean, checkArgument, checkOptions, either, isObject, list, oneOf, type OptionTable, path, record, signal, string, text, where,
} from '../options.js'
import { Dataset } from './dataset.js'
import { type FileOptions, filesOf } from './files.js'
import { FORMATS, type Format } from './normalize/form.js'
import { foundIn, normalized } from './normalize/normalizer.js'
import { fileError, type Found } from './place.js'
import { readCsv } from './read/csv.js'
import { readJson, readJsonLines } from './read/json.js'
import { readLines } from './read/lines.js'
import { readParquet } from './read/parquet.js'
import type { Row } from './rows.js'
import { Tally } from './tally.js'

/** Where rows come from, and how they are read. */
export interface LoadDatasetOptions extends FileOptions {
  /**
   * What rows are. Default `auto`: by their columns, as SWIFT's AutoPreprocessor decides (`messages`, ShareGPT, Alpaca, query and response
   * under their many names), then as TRL (`prompt` and `completion`, `chosen` and `rejected`); all rows of a file are of one form. `raw`
   * leaves rows as they are.
   */
  format?: Format
  /** What columns of other names are: `{ question: 'query' }`. */
  columns?: Record<string, string>
  /** Columns that rows keep although no form has them, for functions of one's own. */
  keepColumns?: string[]
  /**
   * Whether a row that cannot be used is an error (ERR_DATASET, with file, line and column). Default false: such rows are dropped, counted in
   * `skipped`, and there is one warning.
   */
  strict?: boolean
  /** Ends iterations. */
  signal?: AbortSignal
}

const LOAD_DATASET: OptionTable<LoadDatasetOptions> = {
  ...HUB,
  files: { ...either(text, list(text, 1)), expected: 'a pattern or a list of patterns' },
  split: text,
  format: oneOf(...FORMATS),
  columns: record(text),
  keepColumns: list(string),
  strict: boolean,
  signal,
}

/** Names of `datasets` and ms-swift. */
const HINTS: Record<string, string> = {
  streaming: 'rows are always streamed',
  dataFiles: 'call it files',
  numProc: 'rows are read when they are asked for',
  name: 'choose the files of a subset with files, such as \'subset/*.parquet\'',
  cacheDir: 'call it cacheDirectory',
  useHf: 'give hub: \'huggingface\'',
}

/** Rows of a program: iterables give them as often as they are asked for, a function gives an iterable for each pass, an iterator gives them once. */
export type RowSource = Iterable<object> | AsyncIterable<object> | (() => Iterable<object> | AsyncIterable<object>)

const isIterable = (value: unknown): value is Iterable<object> | AsyncIterable<object> =>
  typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
const isPaths = (value: unknown): value is string[] => Array.isArray(value) && value.length > 0 && Array.from(value).every(path.accepts)
const SOURCE = where('a path, a pattern, a hub id, a list of paths, or an iterable of rows', v =>
  path.accepts(v) || typeof v === 'function' || isPaths(v) || (isIterable(v) && !ArrayBuffer.isView(v) && !(Array.isArray(v) && !Array.from(v).every(isObject))))

/**
 * Rows of a file, of several (a list, a folder, a pattern), of a repository of a hub (`owner/name`), or of a program. JSON Lines, JSON, CSV,
 * TSV, text and Parquet, the texts also as gzip. Nothing is read before rows are asked for, and then as a stream: a row of text files is in
 * memory, of Parquet a row group.
 *
 * Rows become one of a few forms, whichever columns they have: conversations in OpenAI's form (`messages`), pairs (`prompt`, `chosen`,
 * `rejected`), conversations with a label, texts with a class, token ids. `T` says which, for TypeScript; nothing checks it.
 *
 * Fails, while rows are read, with ERR_DATASET (a damaged file, columns that no form has), ERR_IO (no such file), ERR_UNSAFE_FILE (a pipe,
 * a device) and ERR_HUB.
 */
export function loadDataset<T extends object = Row>(source: string | string[] | RowSource, options: LoadDatasetOptions = {}): Dataset<T> {
  checkArgument('loadDataset', 'source', source, SOURCE)
  const { format, columns, keepColumns, strict, signal, ...rest } = checkOptions('loadDataset', options, LOAD_DATASET, HINTS)
  const given = typeof source === 'string' ? [source] : isPaths(source) ? source : undefined
  const open = given ? files(given, { ...rest, signal }) : rows(source as RowSource, signal)
  const tally = new Tally('strict: true makes it an error')
  return new Dataset<T>({
    name: `loadDataset(${given ? given.map(one => JSON.stringify(one)).join(', ').slice(0, 200) : 'rows'})`,
    skipped: () => tally.count,
    async *open() {
      tally.begin()
      let [any, last] = [false, '']
      try {
        for await (const { path: name, found } of open()) {
          last = name
          for await (const row of normalized(name, found, { format, columns, keepColumns, strict }, tally)) {
            signal?.throwIfAborted()
            any = true
            yield row as T
          }
        }
        if (strict && given && !any) throw fileError(last || given.join(', '), 'no rows')
      } finally {
        tally.end()
      }
    },
  })
}

interface Opened {
  path: string
  found: AsyncIterable<Found>
}

function files(sources: string[], options: FileOptions): () => AsyncGenerator<Opened> {
  // What a hub has is asked for once; an id must not be another revision in the next epoch.
  let paths: Promise<string[]> | undefined
  return async function *() {
    options.signal?.throwIfAborted()
    paths ??= Promise.all(sources.map(source => filesOf(source, options))).then(lists => lists.flat())
    const all = await paths.catch(error => {
      paths = undefined
      throw error
    })
    for (const path of all) yield { path, found: reader(path, options.signal) }
  }
}

/** A file by its ending. */
function reader(path: string, signal?: AbortSignal): AsyncIterable<Found> {
  const name = path.toLowerCase().replace(/\.gz$/, '')
  if (name.endsWith('.parquet')) return readParquet(path, signal)
  if (name.endsWith('.csv')) return readCsv(path, ',', signal)
  if (name.endsWith('.tsv')) return readCsv(path, '\t', signal)
  if (name.endsWith('.txt')) return readLines(path, line => ({ text: line }), signal)
  return name.endsWith('.json') ? readJson(path, signal) : readJsonLines(path, signal)
}

function rows(source: RowSource, signal?: AbortSignal): () => AsyncGenerator<Opened> {
  let used = false
  return async function *() {
    const given = typeof source === 'function' ? source() : source
    if (!isIterable(given)) throw new SwiftTunersError('ERR_INVALID_ARGUMENT', 'loadDataset: source: the function gave no iterable of rows')
    if (typeof source !== 'function' && typeof (source as { next?: unknown }).next === 'function') {
      if (used) throw new SwiftTunersError('ERR_INVALID_STATE', 'loadDataset: source: an iterator gives its rows once; give an iterable, or a function that gives one for each pass')
      used = true
    }
    yield { path: 'rows', found: foundIn(given, signal) }
  }
}
