/** Conversations of any form as messages (SWIFT's MessagesPreprocessor). */
import { isObject, shown } from '../../options.js'
import { BadRow } from '../place.js'
import type { Message } from '../rows.js'
import { type RawMessage, unfolded } from './providers.js'
import { openaiMessages, type SwiftMessage } from './tools.js'
import { listOf, structured, textOf } from './values.js'

const ROLES: Record<string, string> = {
  human: 'user', gpt: 'assistant', bot: 'assistant', function_call: 'tool_call', function_response: 'tool_response', observation: 'tool_response',
  observations: 'tool_response',
}
const KNOWN = ['system', 'user', 'assistant', 'tool', 'tool_call', 'tool_response']

/**
 * Messages of a conversation: OpenAI's, ShareGPT's (`from`, `value`), Anthropic's blocks, pairs `{ user, assistant }`, or the text of
 * such a list. `system` goes first unless a system message is there. Throws a BadRow.
 */
export function conversation(value: unknown, system: unknown, column = 'messages'): Message[] {
  const list = listOf(value, column)
  if (list.length === 0) throw new BadRow('there are no messages', column)
  const wrong = list.findIndex(message => !isObject(message))
  if (wrong >= 0) throw new BadRow(`expected an object, found ${shown(list[wrong])}`, `${column}[${wrong}]`)
  const messages = unfolded(list as RawMessage[]).map(withRole)
  const named = 'role' in messages[0] || 'content' in messages[0]
  return openaiMessages(named ? withSystem(messages, system, column) : ofPairs(messages, system, column))
}

/** A message with `role` and `content`, whatever they were called. */
function withRole({ from, value, ...message }: RawMessage): RawMessage {
  return { ...message, ...(from == null ? {} : { role: from }), ...(value === undefined ? {} : { content: value }) }
}

function withSystem(messages: RawMessage[], system: unknown, column: string): SwiftMessage[] {
  const first = system != null && messages[0].role !== 'system' ? [{ role: 'system', content: textOf(system, 'system') }] : []
  return [...first, ...messages.map((message, i) => checked(message, `${column}[${i}]`))]
}

/** Rounds: each message holds a question and its answer. */
function ofPairs(messages: RawMessage[], system: unknown, column: string): SwiftMessage[] {
  const first = system == null ? [] : [{ role: 'system', content: textOf(system, 'system') }]
  return [...first, ...messages.flatMap((message, i) => {
    const [user, assistant] = [message.human ?? message.user, message.bot ?? message.gpt ?? message.assistant]
    if (user == null || assistant == null) throw new BadRow(`expected role and content, found ${Object.keys(message).slice(0, 6).join(', ') || 'nothing'}`, `${column}[${i}]`)
    return [{ role: 'user', content: textOf(user, `${column}[${i}]`) }, { role: 'assistant', content: textOf(assistant, `${column}[${i}]`) }]
  })]
}

/** A message without what nobody reads, its role and content checked. */
function checked(message: RawMessage, at: string): SwiftMessage {
  const given = message.role
  if (typeof given !== 'string') throw new BadRow(`expected a role, found ${shown(given)}`, `${at}.role`)
  const low = given.replaceAll('-', '_')
  const role = Object.hasOwn(ROLES, low) ? ROLES[low] : given
  if (!KNOWN.includes(role)) throw new BadRow(`${shown(given)} is none of ${KNOWN.join(', ')}`, `${at}.role`)
  const out: SwiftMessage = { role, content: contentOf(message.content, role, `${at}.content`) }
  if (message.loss != null) out.loss = lossOf(message.loss, `${at}.loss`)
  if (message.loss_scale != null) {
    if (typeof message.loss_scale !== 'number' || !(message.loss_scale >= 0)) throw new BadRow(`expected a number from 0 on, found ${shown(message.loss_scale)}`, `${at}.loss_scale`)
    out.loss_scale = message.loss_scale
  }
  if (typeof message.name === 'string' && (role === 'tool' || role === 'tool_response')) out.name = message.name
  if (typeof message.id === 'string' && role === 'tool_call') out.id = message.id
  if (typeof message.tool_call_id === 'string' && (role === 'tool' || role === 'tool_response')) out.tool_call_id = message.tool_call_id
  return out
}

function contentOf(content: unknown, role: string, at: string): unknown {
  if (role === 'tool_call') return typeof content === 'string' ? structured(content, at) : content
  if (role === 'tool' || role === 'tool_response') {
    if (content == null) throw new BadRow('expected text, found null', at)
    return content
  }
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) throw new BadRow(`expected text, found ${shown(content)}`, at)
  for (const part of content) {
    const { type, text } = (isObject(part) ? part : {}) as RawMessage
    if (type !== 'text' || typeof text !== 'string') throw new BadRow(`expected parts { type: 'text', text }, found ${type === undefined ? shown(part) : `type ${shown(type)}`}`, at)
  }
  return content.map(part => ({ type: 'text', text: (part as { text: string }).text }))
}

function lossOf(value: unknown, at: string): boolean {
  if (typeof value === 'boolean') return value
  if (value === 0 || value === 1) return value === 1
  throw new BadRow(`expected true or false, found ${shown(value)}`, at)
}
