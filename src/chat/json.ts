/** Values that go to a template as JSON. */
import { jsonText } from '../data/json-source.js'
import { invalidArgument } from '../options.js'
import { printable } from '../text.js'

/** @internal A value as JSON. What JSON cannot hold is refused; `what` says where it was given. */
export function templateJson(what: string, value: unknown): string {
  try {
    if (value !== undefined && typeof value !== 'function' && typeof value !== 'symbol') return jsonText(value)
  } catch (error) {
    throw invalidArgument(what, `${what}: it cannot be written as JSON: ${printable(String((error as Error)?.message ?? error).split('\n')[0])}`)
  }
  throw invalidArgument(what, `${what}: it cannot be written as JSON`)
}
