/** CSV and TSV: the first record names the columns, and all values are texts, empty ones too. */
import { Readable } from 'node:stream'
import { parse } from 'csv-parse'
import { SwiftTunersError } from '../../errors.js'
import { printable } from '../../text.js'
import { fileError, type Found } from '../place.js'
import { bytesOf, MAX_ROW } from './bytes.js'

interface Parsed {
  record: string[]
  /** `lines`: of the record's end. */
  info: { lines: number }
}

export async function *readCsv(path: string, delimiter: string, signal?: AbortSignal): AsyncGenerator<Found> {
  const source = Readable.from(textOf(path, signal))
  const parser = parse({ delimiter, info: true, relax_quotes: true, relax_column_count: true, skip_empty_lines: true, max_record_size: MAX_ROW })
  source.on('error', error => parser.destroy(error))
  let names: string[] | undefined
  try {
    for await (const { record, info } of source.pipe(parser) as AsyncIterable<Parsed>) {
      const at = { path, line: info.lines }
      if (!names) {
        names = checkedNames(path, record)
      } else if (record.length !== names.length) {
        yield { at, problem: `${record.length} fields where the first line names ${names.length} columns` }
      } else yield { at, row: Object.fromEntries(names.map((name, i) => [name, record[i]])) }
    }
  } catch (error) {
    if (error instanceof SwiftTunersError || signal?.aborted) throw error
    throw fileError(path, printable((error as Error).message), error)
  } finally {
    source.destroy()
    parser.destroy()
  }
}

function checkedNames(path: string, names: string[]): string[] {
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw fileError(path, `line 1: two columns are called ${JSON.stringify(printable(twice))}`)
  return names
}

async function *textOf(path: string, signal?: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const decode = (bytes?: Buffer) => {
    try {
      return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode()
    } catch (cause) {
      throw fileError(path, 'not UTF-8', cause)
    }
  }
  for await (const chunk of bytesOf(path, signal)) yield decode(chunk)
  yield decode()
}
