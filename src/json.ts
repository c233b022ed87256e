/** Values that go to files and to the native side as JSON. */
import { SwiftTunersError } from './errors.js'
import { isObject, shown } from './options.js'

/** An object as JSON; what JSON cannot hold is refused and not left out. `what` says which object. */
export function jsonText(what: string, value: unknown): string {
  if (!isObject(value)) throw new SwiftTunersError('ERR_INVALID_CONFIG', `${what}: expected an object, found ${shown(value)}`)
  const held = (name: string, inner: unknown) => {
    const odd = typeof inner === 'function' || typeof inner === 'symbol' || typeof inner === 'bigint' || (typeof inner === 'number' && !Number.isFinite(inner))
    if (odd) throw new SwiftTunersError('ERR_INVALID_CONFIG', `${what}: ${name}: ${shown(inner)} cannot be saved`, { details: { option: name } })
    return inner
  }
  try {
    return JSON.stringify(value, held)
  } catch (cause) {
    if (cause instanceof SwiftTunersError) throw cause
    throw new SwiftTunersError('ERR_INVALID_CONFIG', `${what}: it cannot be written as JSON: ${(cause as Error).message.split('\n')[0]}`, { cause })
  }
}
