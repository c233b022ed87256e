/** Help, from the tables. */
import { COMMANDS, type Command } from './commands.js'
import type { OptionGroup } from './argument.js'

const wide = (columns: number | undefined) => Math.max(40, Math.min(100, columns || 80))

/** Of all commands. */
export function help(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) => row(`  ${name}`, summary, 11, wide(process.stdout.columns)))
  return `swift-tuners COMMAND [--option value …]

${rows.join('\n')}

Options of a command: swift-tuners COMMAND --help. Their names and defaults are ms-swift's.
`
}

/** Of one command. */
export function helpOf(name: string, { summary, example, options, positional }: Command): string {
  const width = wide(process.stdout.columns)
  const shown = Object.entries(options).map(([option, { argument, help, default: fallback }]) => {
    const value = defaultText(fallback)
    const label = argument.flag ? '' : ` ${argument.label.length > 24 ? 'VALUE' : argument.label}`
    return row(`  --${option}${label}`, `${help}${value ? ` Default: ${value}.` : ''}`, 34, width)
  })
  return `swift-tuners ${name}${positional ? ` ${options[positional].argument.label}` : ''} [--option value …]

${fold(summary, width).join('\n')}

  ${example}

${shown.join('\n')}

Names may be written with - or with _. A flag alone is true; --flag false turns it off.
`
}

/** A default as one writes it; empty where there is none to tell. */
export function defaultText(value: OptionGroup[string]['default']): string {
  if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) return ''
  if (Array.isArray(value)) return value.join(' ')
  return typeof value === 'object' && value !== null ? (Object.keys(value).length > 0 ? JSON.stringify(value) : '') : String(value)
}

function row(left: string, text: string, indent: number, width: number): string {
  const lines = fold(text, Math.max(24, width - indent))
  const first = left.length < indent ? [`${left.padEnd(indent)}${lines[0]}`] : [left, ' '.repeat(indent) + lines[0]]
  return [...first, ...lines.slice(1).map(line => ' '.repeat(indent) + line)].join('\n')
}

/** Words in lines of a width. */
export function fold(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.length - 1
    if (lines[last] !== '' && lines[last].length + 1 + word.length > width) lines.push(word)
    else lines[last] += lines[last] === '' ? word : ` ${word}`
  }
  return lines
}
