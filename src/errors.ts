/** The codes of the native side, then those of this one. */
export const ERROR_CODES = [
  'ERR_INVALID_CONFIG', 'ERR_UNSUPPORTED_MODEL', 'ERR_UNSUPPORTED_TUNER', 'ERR_TARGET_NOT_FOUND', 'ERR_ADAPTER_NOT_FOUND',
  'ERR_ADAPTER_EXISTS', 'ERR_CHECKPOINT_CORRUPT', 'ERR_CHECKPOINT_MISMATCH', 'ERR_UNSAFE_FILE', 'ERR_NOT_CONVERTIBLE', 'ERR_INVALID_ARGUMENT', 'ERR_SHAPE',
  'ERR_DEVICE', 'ERR_OUT_OF_MEMORY', 'ERR_IO', 'ERR_ABORTED', 'ERR_DISPOSED', 'ERR_INVALID_STATE',
  'ERR_HUB', 'ERR_DATASET',
] as const

/** Stable codes of everything that this package throws. */
export type ErrorCode = typeof ERROR_CODES[number]

/** What an error is about; which fields there are depends on its code. */
export interface ErrorDetails extends Record<string, unknown> {
  /** A file or folder, or the name of a tensor or an input. */
  path?: string
  /** The shape that was wanted. */
  expected?: number[]
  /** The shape that was there. */
  actual?: number[]
  /** Of a configuration or a call. */
  option?: string
  /** What no module matched. */
  pattern?: string
  /** The closest names that there are. */
  nearest?: string[]
  /** An adapter. */
  name?: string
  /** The adapters that the model has. */
  known?: string[]
  /** A device that cannot be used. */
  device?: string
  /** Of a file, from 1. */
  line?: number
  /** Of a dataset, from 0. */
  row?: number
  /** Of a row, with the place inside of it. */
  column?: string
}

/** Every error thrown has a stable `code` and names the file, tensor, adapter or option at fault. */
export class SwiftTunersError extends Error {
  /** The class's name, in printed stacks. */
  override name = 'SwiftTunersError'
  /** What kind of error; texts may change, codes do not. */
  readonly code: ErrorCode
  /** What it is about, for programs. */
  readonly details?: ErrorDetails

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; details?: ErrorDetails }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    if (options?.details) this.details = options.details
  }
}

/** How the text of an error of the native side begins: the JSON of its code, message and details. */
const ENVELOPE = '{"code":"ERR_'

/** Turns an error of the native side into ours; anything else stays as it is. */
export function translated(error: unknown): unknown {
  if (!(error instanceof Error) || !error.message.startsWith(ENVELOPE)) return error
  const { code, message, details } = JSON.parse(error.message) as { code: ErrorCode; message: string; details: ErrorDetails }
  const ours = new SwiftTunersError(code, message, Object.keys(details).length ? { details } : undefined)
  // The stack of the call, not of this helper.
  Error.captureStackTrace?.(ours, translated)
  return ours
}

/** Runs a synchronous native call. */
export function native<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw translated(error)
  }
}

/** Awaits a native promise. */
export async function nativeAsync<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw translated(error)
  }
}

/** Tells the user without stopping: `process.on('warning')` sees it. */
export function warn(message: string): void {
  process.emitWarning(message, 'SwiftTunersWarning')
}
