/** Tools and calls of tools, in the form that chat templates take. */
import { isObject, shown } from '../../options.js'
import { jsonText, parseJson } from '../json-source.js'
import { BadRow } from '../place.js'
import type { Message, Tool } from '../rows.js'

/** JSON schema: where names of one's own have schemas as values, where null is a value, and where it is an item. */
const SCHEMAS_BY_NAME = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies'])
const NULL_VALUES = new Set(['default', 'const'])
const NULL_ITEMS = new Set(['enum', 'examples'])

/** A `tools` column: a list, one tool, or the JSON text of either. */
export function toolsOf(value: unknown): Tool[] | undefined {
  let tools = value
  if (typeof tools === 'string') {
    if (tools.trim() === '') return undefined
    try {
      tools = parseJson(tools)
    } catch {
      throw new BadRow(`expected tools or their JSON text, found ${shown(value)}`, 'tools')
    }
  }
  if (tools === null || tools === undefined) return undefined
  const list = Array.isArray(tools) ? withoutPadding(tools) as unknown[] : [withoutPadding(tools)]
  const wrong = list.find(tool => !isObject(tool))
  if (wrong !== undefined || list.includes(undefined)) throw new BadRow(`expected objects, found ${shown(wrong)}`, 'tools')
  return list.length > 0 ? list as Tool[] : undefined
}

/**
 * A schema without the nulls that Arrow puts where another row has a field. What holds none is the same object, with what is known of its
 * text.
 */
function withoutPadding(schema: unknown): unknown {
  if (Array.isArray(schema)) {
    const items = schema.map(withoutPadding)
    return items.some((item, i) => item !== schema[i]) ? items : schema
  }
  if (!isObject(schema)) return schema
  const out: [string, unknown][] = []
  let changed = false
  for (const [name, value] of Object.entries(schema)) {
    if (NULL_VALUES.has(name) || name.startsWith('x-')) out.push([name, value])
    else if (value === null) changed = true
    else if (NULL_ITEMS.has(name)) out.push([name, value])
    else {
      const kept = SCHEMAS_BY_NAME.has(name) && isObject(value) ? namedSchemas(value) : withoutPadding(value)
      changed ||= kept !== value
      out.push([name, kept])
    }
  }
  return changed ? Object.fromEntries(out) : schema
}

function namedSchemas(value: object): object {
  const kept = Object.entries(value).filter(([, schema]) => schema !== null).map(([name, schema]) => [name, withoutPadding(schema), schema] as const)
  const changed = kept.length < Object.keys(value).length || kept.some(([, now, before]) => now !== before)
  return changed ? Object.fromEntries(kept.map(([name, now]) => [name, now])) : value
}

/** SWIFT's messages: a call of a tool is a message of role `tool_call`. */
export interface SwiftMessage {
  role: string
  content: unknown
  loss?: boolean
  loss_scale?: number
  name?: string
  /** Of a call. */
  id?: string
  /** Of the call that this is the result of. */
  tool_call_id?: string
}

type Answer = Message & { role: 'assistant' }

/**
 * Messages as OpenAI's API has them: calls in a row are one message, with the text before them as its content. Ids stay where there are some:
 * ms-swift drops them, and Mistral's templates want them.
 */
export function openaiMessages(messages: SwiftMessage[]): Message[] {
  const out: Message[] = []
  for (const { role, content, id, ...rest } of messages) {
    if (role === 'tool_call') {
      const call = { ...(id === undefined ? {} : { id }), ...toolCall(content) }
      const before = out.at(-1)
      if (before?.role === 'assistant' && (rest.loss === undefined || before.loss === rest.loss)) (before.tool_calls ??= []).push(call)
      else out.push({ role: 'assistant', content: '', ...rest, tool_calls: [call] } satisfies Answer)
    } else if (role === 'tool' || role === 'tool_response') {
      out.push({ role: 'tool', content: typeof content === 'string' ? content : pythonJson(content), ...rest })
    } else out.push({ role: role as Message['role'], content: content as Message['content'], ...rest })
  }
  return out
}

function toolCall(content: unknown): NonNullable<Message['tool_calls']>[number] {
  const call = typeof content === 'string' ? parsed(content) : content
  if (!isObject(call) || typeof (call as { name?: unknown }).name !== 'string') throw new BadRow(`expected a call { name, arguments }, found ${shown(content)}`, 'messages')
  const { name, arguments: given = {} } = call as { name: string; arguments?: unknown }
  const inner = typeof given === 'string' ? parsed(given) : given
  return { type: 'function', function: { name, arguments: (isObject(inner) ? inner : given) as Record<string, unknown> | string } }
}

function parsed(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}

/** As `json.dumps(value, ensure_ascii=False)` writes it. */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`
  if (isObject(value)) return `{${Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}: ${pythonJson(inner)}`).join(', ')}}`
  return jsonText(value)
}
