/** Arguments to values, by a command's options. */
import { parseArgs } from 'node:util'
import type { SwiftTunersError } from '../errors.js'
import { invalid, nearest, shown } from '../options.js'
import { printable } from '../text.js'
import type { OptionGroup } from './argument.js'

/** Values that somebody has given, by the options' names. */
export type Given = Record<string, unknown>

const snake = (name: string) => name.replaceAll('-', '_')

/** The values of the command line. Fails with ERR_INVALID_CONFIG, naming the option as it was written. */
export function parsed(argv: string[], group: OptionGroup, positional?: string): Given {
  const spellings = Object.entries(group).flatMap(([name, { argument }]) =>
    [...new Set([name, name.replaceAll('_', '-')])].map(spelling => [spelling, { type: argument.flag ? 'boolean' : 'string' }] as const))
  const { tokens } = parseArgs({ args: argv, options: { ...Object.fromEntries(spellings), h: { type: 'boolean' } }, strict: false, tokens: true })
  const found = new Map<string, string[]>()
  // Where values without a name go.
  let open: { name: string; raw: string } | undefined
  for (const token of tokens) {
    if (token.kind === 'option') {
      const name = token.rawName === '-h' ? 'help' : snake(token.name)
      if (!Object.hasOwn(group, name)) throw unknown(token.rawName, name, group)
      if (token.value?.startsWith('--') && !token.inlineValue) throw invalid(name, `${token.rawName}: its value is missing; ${token.value} is an option (${token.rawName}=${token.value} would be a value)`)
      const { argument } = group[name]
      found.set(name, token.value === undefined ? [] : [token.value])
      open = argument.many || (argument.flag && token.value === undefined) ? { name, raw: token.rawName } : undefined
    } else if (token.kind === 'positional') {
      const flag = open && group[open.name].argument.flag
      if (open && !(flag && typeof group[open.name].argument.parse(token.value) !== 'boolean')) {
        found.get(open.name)!.push(token.value)
        if (flag) open = undefined
      } else if (positional !== undefined) {
        found.set(positional, [...(found.get(positional) ?? []), token.value])
      } else throw invalid('arguments', `${shown(token.value)}: no option takes it`)
    }
  }
  return Object.fromEntries([...found].map(([name, values]) => [name, valueOf(name, values, group)]))
}

function valueOf(name: string, values: string[], group: OptionGroup): unknown {
  const { argument } = group[name]
  if (argument.flag && values.length === 0) return true
  if (values.length === 0) throw invalid(name, `--${name}: its value is missing`)
  const value = argument.many ? values.map(argument.parse) : argument.parse(values.at(-1)!)
  return checked(`--${name}`, name, value, group)
}

/** A value that the option may have. `where` names it in the message. */
function checked(where: string, name: string, value: unknown, group: OptionGroup): unknown {
  const { kind } = group[name].argument
  if (kind.accepts(value)) return value
  const words = typeof value === 'string' && kind.expected.includes(' or ') && group[name].argument.label !== 'true|false' ? kind.expected.split(' or ') : []
  const near = words.length > 0 ? nearest(String(value), words) : undefined
  const hint = kind.hint?.(value)
  const expected = words.length > 8 ? `one of ${words.length} names, which --help lists` : kind.expected
  throw invalid(name, `${where}: expected ${expected}, found ${shown(value)}${near ? `; did you mean ${near}?` : hint ? `; ${hint}` : ''}`, near ? [near] : undefined)
}

/** The values of a file of options; names in either spelling. */
export function fromFile(file: string, values: Given, group: OptionGroup): Given {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined).map(([raw, value]) => {
    const name = snake(raw)
    if (!Object.hasOwn(group, name) || name === 'config') throw unknown(`${file}: ${printable(raw)}`, name, group)
    const whole = group[name].argument.many && !Array.isArray(value) ? [value] : value
    return [name, checked(`${file}: ${name}`, name, whole, group)]
  }))
}

/** Every option's value: what was given, or the default. */
export function complete(given: Given, group: OptionGroup): Given {
  return Object.fromEntries(Object.entries(group).map(([name, option]) => [name, Object.hasOwn(given, name) ? given[name] : option.default]))
}

function unknown(raw: string, name: string, group: OptionGroup): SwiftTunersError {
  const near = nearest(name, Object.keys(group))
  return invalid(name, `${printable(raw)}: there is no such option${near ? `; did you mean --${near}?` : ''}`, near ? [near] : undefined)
}
