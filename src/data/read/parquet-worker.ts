/** The thread that decodes Parquet: it answers with rows that it is asked for. */
import { parentPort, workerData } from 'node:worker_threads'
import type { ParquetParsers } from 'hyparquet' with { 'resolution-mode': 'import' }
import { footer, withFile } from './parquet-file.js'

/** What the thread is started with. */
export interface Task {
  path: string
}

/** Some rows of a row group, or what is wrong with it. */
export type Answer = { rows: unknown[] } | { problem: string }

/** Rows of one message. */
const AT_ONCE = 1000

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const PARSERS: Partial<ParquetParsers> = {
  // Times as microseconds since 1970: a Date would lose what is below a millisecond.
  timestampFromMilliseconds: millis => BigInt(millis) * 1000n,
  timestampFromMicroseconds: micros => micros,
  timestampFromNanoseconds: nanos => nanos / 1000n,
  stringFromBytes: bytes => bytes && text.decode(bytes),
  // Parsed by the receiver: what `parseJson` remembers of an object does not cross threads.
  jsonFromBytes: bytes => bytes && new Map([['json', text.decode(bytes)]]),
}

/** Answers questions for rows; those of one group are decoded once. */
async function serve(path: string): Promise<void> {
  const { parquetReadObjects } = await import('hyparquet')
  const { compressors } = await import('hyparquet-compressors')
  const metadata = await footer(path)
  let current = -1
  let rows: unknown[] = []
  parentPort!.on('message', async ({ group, start, end }: { group: number; start: number; end: number }) => {
    try {
      if (group !== current) {
        rows = await withFile(path, file =>
          parquetReadObjects({ file, metadata, rowStart: start, rowEnd: end, compressors, utf8: false, parsers: PARSERS, geoparquet: false }))
        current = group
      }
      parentPort!.postMessage({ rows: rows.splice(0, AT_ONCE) } satisfies Answer)
    } catch (error) {
      parentPort!.postMessage({ problem: (error as Error).message } satisfies Answer)
    }
  })
}

void serve((workerData as Task).path)
