/** Stable codes of everything that this package throws. */
export type ErrorCode =
  | 'ERR_INVALID_CONFIG' | 'ERR_UNSUPPORTED_MODEL' | 'ERR_UNSUPPORTED_TUNER' | 'ERR_TARGET_NOT_FOUND'
  | 'ERR_ADAPTER_NOT_FOUND' | 'ERR_ADAPTER_EXISTS' | 'ERR_CHECKPOINT_CORRUPT' | 'ERR_CHECKPOINT_MISMATCH'
  | 'ERR_UNSAFE_FILE' | 'ERR_NOT_CONVERTIBLE' | 'ERR_SHAPE' | 'ERR_DEVICE' | 'ERR_OUT_OF_MEMORY' | 'ERR_IO'
  | 'ERR_HUB' | 'ERR_ABORTED' | 'ERR_DISPOSED' | 'ERR_INVALID_STATE'

/** Every error thrown has a stable `code` and names the file, tensor, adapter or option at fault. */
export class SwiftTunersError extends Error {
  override name = 'SwiftTunersError'
  readonly code: ErrorCode
  readonly details?: Record<string, unknown>

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; details?: Record<string, unknown> }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    if (options?.details) this.details = options.details
  }
}

/** What the native side puts between code and text. */
const SEPARATOR = '\u001f'

/** Turns an error of the native side into ours; anything else stays as it is. */
export function translated(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const at = error.message.indexOf(SEPARATOR)
  if (at < 0) return error
  const ours = new SwiftTunersError(error.message.slice(0, at) as ErrorCode, error.message.slice(at + 1))
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
