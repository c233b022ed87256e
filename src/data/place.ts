/** Where a row stands, and what is wrong with it. */
import { SwiftTunersError } from '../errors.js'
import { printable } from '../text.js'

/** Where a row stands. */
export interface Place {
  /** A file, or what stands for one: `rows` of a program. */
  path: string
  /** From 1. */
  line?: number
  /** From 0, where there are no lines. */
  row?: number
}

/** A row that cannot be used, before anybody knows where it stands. */
export class BadRow extends Error {
  constructor(readonly problem: string, readonly column?: string) {
    super(problem)
  }
}

/** What a reader found at a place: a row, or why there is none. */
export type Found = { at: Place; row: unknown } | { at: Place; problem: string }

/** The error of a row: `rows.jsonl:4: messages[0].content: expected text, found null`. */
export function rowError(at: Place, problem: string, column?: string): SwiftTunersError {
  return new SwiftTunersError('ERR_DATASET', `${placeText(at)}: ${column === undefined ? '' : `${column}: `}${problem}`, {
    details: { ...at, ...(column === undefined ? {} : { column }) },
  })
}

/** The error of a whole file. */
export function fileError(path: string, problem: string, cause?: unknown): SwiftTunersError {
  return new SwiftTunersError('ERR_DATASET', `${printable(path)}: ${problem}`, { cause, details: { path } })
}

function placeText({ path, line, row }: Place): string {
  return line !== undefined ? `${printable(path)}:${line}` : row !== undefined ? `${printable(path)}, row ${row}` : printable(path)
}
