import { setImmediate as turn } from 'node:timers/promises'
import { SwiftTunersError, warn } from '../errors.js'
import { checkArgument, checkOptions, instance, invalid, type OptionTable, path } from '../options.js'
import { Dataset, nameOf, type Pass } from './dataset.js'
import { type AnyEncoded, type EncodedOf, Encoder, type Wanted } from './encode.js'
import { ENCODE_HINTS, ENCODE_ROW, type EncodeRowOptions } from './encode-options.js'
import { Cache } from './encode-cache.js'
import { jsonText } from './json-source.js'
import { rowTokenizer, type RowTokenizer } from './row-tokenizer.js'
import type { Row } from './rows.js'
import { Tally } from './tally.js'

/** How a dataset becomes token ids. */
export interface EncodeDatasetOptions extends EncodeRowOptions {
  /**
   * A folder that keeps what was encoded, by the content of rows, tokenizer and options: the next epoch, or the next run, reads it. For rows in a fixed
   * order: shuffle what `encodeDataset` gives, not what it takes. Not for templates that read the clock.
   */
  cache?: string
  /**
   * Whether a row that cannot be encoded (the template raises) is an error. Default false: it is dropped and counted, as rows are of which nothing
   * could be learned. When none of the first rows can be encoded, that is an error anyway.
   */
  strict?: boolean
}

export const ENCODE_DATASET: OptionTable<EncodeDatasetOptions> = { ...ENCODE_ROW, cache: path }

/** Rows that are kept in one file, and that are encoded at once where the tokenizer can. */
const CHUNK = 256
/** Milliseconds after which other work gets its turn. */
const SLICE = 10
/** Rows after which, when none could be encoded, no further one will be. */
const HOPELESS = 32

/**
 * The rows of a dataset as token ids (see `encodeRow`), for `batches`. Rows are encoded as they are asked for: by an `AutoTokenizer` some hundred at
 * once beside the event loop, else in slices between which it runs.
 *
 * Rows that were too long, and rows without a label that counts, are dropped: their mean loss would be 0/0. `skipped` counts them, and there is one
 * warning.
 */
export function encodeDataset<R extends Row>(tokenizer: RowTokenizer, dataset: Dataset<R>, options: EncodeDatasetOptions = {}): Dataset<EncodedOf<R>> {
  checkArgument('encodeDataset', 'tokenizer', tokenizer, rowTokenizer)
  checkArgument('encodeDataset', 'dataset', dataset, instance(Dataset as { prototype: object }, 'a dataset (loadDataset makes one)'))
  const { cache, ...rest } = checkOptions('encodeDataset', options, ENCODE_DATASET, ENCODE_HINTS)
  if (cache !== undefined && !tokenizer.fingerprint) throw invalid('cache', 'encodeDataset: cache: this tokenizer has no fingerprint, by which what it gave could be known again')
  const kept = cache === undefined ? undefined : new Cache(cache, jsonText([tokenizer.fingerprint, rest]))
  const run = new Run(tokenizer, rest, kept)
  return new Dataset<EncodedOf<R>>({
    name: `encodeDataset(${nameOf(dataset)})`,
    skipped: () => dataset.skipped + run.tally.count,
    open: pass => run.rows(dataset, pass) as AsyncIterable<EncodedOf<R>>,
  })
}

/** What a chunk of rows gave. */
interface Chunk {
  rows: AnyEncoded[]
  /** Rows of which there is nothing, and why the first of them. */
  dropped: number
  reason?: string
  /** Turns that could not be trained. */
  skipped: number
}

class Run {
  readonly tally = new Tally('strict: true makes what cannot be encoded an error')
  readonly #tokenizer: RowTokenizer
  readonly #options: EncodeRowOptions
  readonly #cache: Cache | undefined
  #told = false
  #since = performance.now()

  constructor(tokenizer: RowTokenizer, options: EncodeRowOptions, cache: Cache | undefined) {
    this.#tokenizer = tokenizer
    this.#options = options
    this.#cache = cache
  }

  async *rows(dataset: Dataset<Row>, { epoch, seed }: Pass): AsyncGenerator<AnyEncoded> {
    this.tally.begin()
    let [seen, given, skipped] = [0, 0, 0]
    let waiting: Row[] = []
    const encode = async (): Promise<AnyEncoded[]> => {
      const chunk = this.#cache ? await this.#cache.kept(waiting.map(jsonText), () => this.#chunk(waiting)) : await this.#chunk(waiting)
      seen += waiting.length
      given += chunk.rows.length
      skipped += chunk.skipped
      waiting = []
      if (chunk.dropped > 0) this.tally.add(new Error(chunk.reason), chunk.dropped)
      if (given === 0 && seen >= HOPELESS && chunk.reason?.startsWith(FAILED)) throw new SwiftTunersError('ERR_INVALID_CONFIG', `encodeDataset: none of the first ${seen} rows gave anything: ${chunk.reason}`)
      return chunk.rows
    }
    try {
      for await (const row of dataset.forEpoch(epoch, seed)) {
        if (waiting.push(row) >= (this.#cache || this.#tokenizer.encodeChats || this.#tokenizer.encodeMany ? CHUNK : 1)) yield *await encode()
      }
      if (waiting.length > 0) yield *await encode()
      if (seen > 0 && given === 0) throw new SwiftTunersError('ERR_INVALID_CONFIG', `encodeDataset: none of ${seen} rows gave anything${this.tally.reason ? `: ${this.tally.reason}` : ''}`)
    } finally {
      this.tally.end()
      if (skipped > 0 && !this.#told) {
        this.#told = true
        warn(`${skipped} turns of the assistant are not trained: the chat template lays them out differently once others follow; use one with {% generation %}`)
      }
    }
  }

  async #chunk(rows: Row[]): Promise<Chunk> {
    const chunk: Chunk = { rows: [], dropped: 0, skipped: 0 }
    const drop = (reason: string) => {
      chunk.dropped += 1
      chunk.reason ??= reason
    }
    const encoder = new Encoder(this.#tokenizer, this.#options)
    await this.#prepare(encoder, rows)
    for (const row of rows) {
      if (performance.now() - this.#since > SLICE) {
        await turn()
        this.#since = performance.now()
      }
      let all: AnyEncoded[]
      try {
        all = encoder.encode(row)
      } catch (error) {
        if (this.#options.strict || !(error instanceof SwiftTunersError)) throw error
        drop(`${FAILED}: ${error.message}`)
        continue
      }
      const counting = all.filter(counts)
      if (counting.length === 0) drop(all.length === 0 ? 'longer than maxLength' : 'no label counts')
      for (const one of counting) chunk.rows.push(one)
    }
    chunk.skipped = encoder.skipped
    return chunk
  }

  /** Has the tokenizer encode beside the event loop what it can. */
  async #prepare(encoder: Encoder, rows: Row[]): Promise<void> {
    const { encodeChats, encodeMany } = this.#tokenizer
    if (!encodeChats && !encodeMany) return
    const wanted = rows.map(row => {
      try {
        return encoder.wanted(row)
      } catch (error) {
        if (error instanceof SwiftTunersError) return { texts: [] } satisfies Wanted as Wanted
        throw error
      }
    })
    const chats = rows.flatMap((row, i) => (wanted[i].chat === undefined ? [] : [{ row, text: wanted[i].chat }]))
    const texts = [...new Set(wanted.flatMap(one => one.texts))]
    const [conversations, ids] = await Promise.all([
      together(encodeChats && chats.length > 0 ? () => encodeChats.call(this.#tokenizer, chats.map(({ text }) => text), encoder.forAll()) : undefined),
      together(encodeMany && texts.length > 0 ? () => encodeMany.call(this.#tokenizer, texts) : undefined),
    ])
    for (const [i, one] of conversations.entries()) encoder.chats.set(chats[i].row, one)
    for (const [i, one] of ids.entries()) encoder.texts.set(texts[i], one)
  }
}

/** What a call for many rows gives; nothing where one of them is at fault, which shows when each is encoded by itself. */
async function together<T>(call: (() => Promise<T[]>) | undefined): Promise<T[]> {
  try {
    return await call?.() ?? []
  } catch (error) {
    if (error instanceof SwiftTunersError) return []
    throw error
  }
}

const FAILED = 'it cannot be encoded'

/** Whether something can be learned of a row. */
function counts(row: AnyEncoded): boolean {
  if ('labels' in row) return row.labels.some((label, i) => i > 0 && label !== -100)
  if ('chosenIds' in row) return row.chosenIds.length > 0 && row.rejectedIds.length > 0
  return 'completionIds' in row ? row.completionIds.length > 0 : row.inputIds.length > 0
}
