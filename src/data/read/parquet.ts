/** Parquet, a row group at a time, decoded on a thread of its own. */
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { SwiftTunersError } from '../../errors.js'
import { printable } from '../../text.js'
import { parseJson } from '../json-source.js'
import { fileError, type Found } from '../place.js'
import { openRegular } from '../../regular-file.js'
import { footer } from './parquet-file.js'
import type { Answer, Task } from './parquet-worker.js'

/** Heap of the thread per byte of its largest row group, which JavaScript's objects need many times over. */
const HEAP_PER_BYTE = 24
const LEAST_HEAP = 512
const MOST_HEAP = 8192
/** Seconds that a row group may take, and more for each MiB of it: a hundred times what it takes. */
const LEAST_SECONDS = 15
const SECONDS_PER_MIB = 1

/**
 * Rows of a file of any compression. Integers above 2^53 are big integers, bytes stay bytes, times are microseconds since 1970, and what
 * is absent is null.
 *
 * The thread keeps the event loop free, and bears what damaged counts do: a page that claims billions of values fills its heap, or its time,
 * and is an error.
 */
export async function *readParquet(path: string, signal?: AbortSignal): AsyncGenerator<Found> {
  await (await openRegular(path)).close()
  const groups = await groupsOf(path)
  if (groups.length === 0) return
  const size = Math.max(...groups.map(({ bytes }) => bytes)) * HEAP_PER_BYTE / 2 ** 20
  const worker = new Worker(join(__dirname, 'parquet-worker.js'), {
    workerData: { path } satisfies Task, resourceLimits: { maxOldGenerationSizeMb: Math.min(Math.max(size, LEAST_HEAP), MOST_HEAP) },
  })
  // Told when rows are asked for; without a listener it would end the process.
  let dead: Error | undefined
  worker.on('error', error => { dead = error as Error })
  try {
    let row = 0
    for (const [group, { rows, bytes }] of groups.entries()) {
      const end = row + rows
      while (row < end) {
        signal?.throwIfAborted()
        if (dead) throw dead
        const answer = await ask(worker, { group, start: row, end }, LEAST_SECONDS + bytes / 2 ** 20 * SECONDS_PER_MIB).catch(cause => ({ problem: (cause as Error).message }))
        if ('problem' in answer) throw fileError(path, `row group ${group}: ${printable(answer.problem)}`)
        if (answer.rows.length === 0) throw fileError(path, `row group ${group}: it has fewer rows than the footer says`)
        for (const value of answer.rows) yield { at: { path, row: row++ }, row: plain(value) }
      }
    }
  } finally {
    await worker.terminate()
  }
}

function ask(worker: Worker, rows: { group: number; start: number; end: number }, seconds: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const settled = () => {
      clearTimeout(timer)
      worker.off('message', answered).off('error', failed).off('exit', ended)
    }
    const answered = (answer: Answer) => {
      settled()
      resolve(answer)
    }
    const failed = (error: unknown) => {
      settled()
      reject(error as Error)
    }
    const ended = () => failed(new Error('the reader ended'))
    const timer = setTimeout(() => failed(new Error(`no rows within ${Math.round(seconds)} s`)), seconds * 1000)
    worker.on('message', answered).on('error', failed).on('exit', ended)
    worker.postMessage(rows)
  })
}

/** Rows and bytes of the row groups, by the footer. */
async function groupsOf(path: string): Promise<{ rows: number; bytes: number }[]> {
  try {
    const { schema, row_groups: groups } = await footer(path)
    // Such a column would become the prototype of its row.
    if (schema.some(({ name }) => name === '__proto__')) throw new SwiftTunersError('ERR_UNSAFE_FILE', `${printable(path)}: a column is called __proto__`, { details: { path } })
    return groups.map(({ num_rows: rows, total_byte_size: bytes }) => ({ rows: Number(rows), bytes: Number(bytes) }))
  } catch (cause) {
    if (cause instanceof SwiftTunersError) throw cause
    throw fileError(path, `the footer: ${printable((cause as Error).message)}`, cause)
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
  if (value === undefined || value === null) return null
  if (value instanceof Date) return value.getTime() * 1000
  if (value instanceof Uint8Array) return value
  // The text of a JSON column; see the thread.
  if (value instanceof Map) return parseJson(String(value.get('json')))
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as Iterable<unknown>, plain)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object') return value
  const out = value as Record<string, unknown>
  for (const [name, inner] of Object.entries(out)) out[name] = plain(inner)
  return out
}
