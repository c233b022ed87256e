/** Messages of OpenAI's and Anthropic's APIs as SWIFT's: each call and each result is a message. */
import { isObject, shown } from '../../options.js'
import { BadRow } from '../place.js'

/** A message as it stands in a row. */
export type RawMessage = Record<string, unknown>

/** Messages whose calls and results are messages of their own. */
export function unfolded(messages: RawMessage[]): RawMessage[] {
  if (messages.some(message => Array.isArray(message.tool_calls) && message.tool_calls.length > 0)) return openai(messages)
  const blocks = messages.flatMap(({ content }) => (Array.isArray(content) ? content.filter(isObject) as RawMessage[] : []))
  const anthropics = blocks.some(({ type, source }) => type === 'tool_use' || type === 'tool_result' || (type === 'image' && source !== undefined))
  return anthropics ? anthropic(messages) : messages
}

const losses = ({ loss, loss_scale }: RawMessage): RawMessage => ({ ...(loss == null ? {} : { loss }), ...(loss_scale == null ? {} : { loss_scale }) })

const idOf = (id: unknown, name: string): RawMessage => (typeof id === 'string' ? { [name]: id } : {})

/** Results in the order of their calls, where each call has one. */
function inOrder<T>(results: T[], calls: unknown[], callOf: (result: T) => unknown): T[] {
  const places = new Map(calls.map((id, i) => [id, i]))
  const complete = !places.has(undefined) && !places.has(null) && places.size === calls.length && results.length === calls.length
    && new Set(results.map(callOf)).size === calls.length && results.every(result => places.has(callOf(result)))
  return complete ? [...results].sort((a, b) => places.get(callOf(a))! - places.get(callOf(b))!) : results
}

function openai(given: RawMessage[]): RawMessage[] {
  const messages = [...given]
  const out: RawMessage[] = []
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]
    const calls = message.role === 'assistant' && Array.isArray(message.tool_calls) ? message.tool_calls : []
    if (calls.length === 0) {
      out.push(message)
      continue
    }
    if (!calls.every(isObject)) throw new BadRow('expected calls of tools', `messages[${i}].tool_calls`)
    let end = i + 1
    while (end < messages.length && (messages[end].role === 'tool' || messages[end].role === 'tool_response')) end++
    const results = inOrder(messages.slice(i + 1, end), calls.map(call => (call as RawMessage).id), result => result.tool_call_id)
    messages.splice(i + 1, results.length, ...results)
    if (message.content) out.push({ role: 'assistant', content: message.content, ...losses(message) })
    for (const call of calls as RawMessage[]) {
      const { name, arguments: given = {} } = (isObject(call.function) ? call.function : call) as RawMessage
      out.push({ role: 'tool_call', content: { name, arguments: given ?? {} }, ...idOf(call.id, 'id'), ...losses(message) })
    }
  }
  return out
}

function anthropic(messages: RawMessage[]): RawMessage[] {
  const out: RawMessage[] = []
  let calls: RawMessage[] = []
  for (const [i, message] of messages.entries()) {
    if (!Array.isArray(message.content)) {
      out.push(message)
      calls = []
      continue
    }
    let blocks = message.content as RawMessage[]
    if (!blocks.every(isObject)) throw new BadRow('expected blocks with a type', `messages[${i}].content`)
    const results = blocks.findIndex(({ type }) => type !== 'tool_result')
    const count = results < 0 ? blocks.length : results
    blocks = [...inOrder(blocks.slice(0, count), calls.map(({ id }) => id), ({ tool_use_id: id }) => id), ...blocks.slice(count)]
    calls = blocks.filter(({ type }) => type === 'tool_use')
    let text: string[] = []
    const flush = () => {
      if (text.length > 0) out.push({ role: message.role, content: text.join(''), ...losses(message) })
      text = []
    }
    for (const block of blocks) {
      if (block.type === 'text') {
        text.push(String(block.text ?? ''))
        continue
      }
      flush()
      if (block.type === 'tool_use') out.push({ role: 'tool_call', content: { name: block.name, arguments: block.input ?? {} }, ...idOf(block.id, 'id'), ...losses(message) })
      else if (block.type === 'tool_result') out.push({ role: 'tool_response', content: resultText(block.content, i), ...idOf(block.tool_use_id, 'tool_call_id'), ...losses(message) })
      else throw new BadRow(`there is no reading of a block of type ${shown(block.type)}`, `messages[${i}].content`)
    }
    flush()
  }
  return out
}

function resultText(content: unknown, at: number): unknown {
  if (!Array.isArray(content)) return content ?? ''
  return content.map(block => {
    if (!isObject(block) || (block as RawMessage).type !== 'text') throw new BadRow('expected blocks of text', `messages[${at}].content`)
    return String((block as RawMessage).text ?? '')
  }).join('')
}
