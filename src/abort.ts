import { nativeAsync } from './errors.js'
import { NativeCancelFlag } from './native/binding.js'

/**
 * @internal
 * Runs native work that an `AbortSignal` may stop. When it aborts, the flag is raised and the promise rejects with
 * `signal.reason` once the work has ended, so that nothing is left running.
 */
export async function withSignal<T>(signal: AbortSignal | undefined, call: (flag: NativeCancelFlag) => Promise<T>): Promise<T> {
  const flag = new NativeCancelFlag()
  if (!signal) return nativeAsync(() => call(flag))
  signal.throwIfAborted()
  const raise = () => flag.cancel()
  signal.addEventListener('abort', raise, { once: true })
  try {
    return await nativeAsync(() => call(flag))
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw error
  } finally {
    signal.removeEventListener('abort', raise)
  }
}
