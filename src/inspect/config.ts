/** A configuration: its class and the fields that are not as they are by default. */
import { inspect, isDeepStrictEqual } from 'node:util'

/** `LoraConfig({ r: 16, targetModules: [ 'q_proj' ] })` */
export function configText(config: { toJSON(): Record<string, unknown> }, camel: (name: string) => string, defaults: Record<string, unknown>): string {
  const own = Object.entries(config.toJSON()).filter(([name, value]) => name !== 'peft_version' && !isDeepStrictEqual(value, defaults[name]))
  const fields = Object.fromEntries(own.map(([name, value]) => [camel(name), value]))
  return `${config.constructor.name}(${own.length > 0 ? inspect(fields, { depth: 4, breakLength: 100 }) : ''})`
}
