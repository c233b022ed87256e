/** What rows with messages have beside them: tools, labels, rejected answers. */
import { isObject, shown } from '../../options.js'
import { BadRow } from '../place.js'
import type { ChatFields, Message, PairRow, Row } from '../rows.js'
import type { Fields } from './columns.js'
import { conversation } from './messages.js'
import { toolsOf } from './tools.js'
import { labelOf, objectOf, textOf } from './values.js'

const MEDIA = ['images', 'image', 'audios', 'audio', 'videos', 'video']

/** Tools and template variables. */
export function chatFields(fields: Fields): ChatFields {
  for (const name of MEDIA) {
    const media = fields[name]
    if (media != null && media !== '' && !(Array.isArray(media) && media.length === 0)) throw new BadRow('there are models of text only', name)
  }
  const out: ChatFields = {}
  const tools = toolsOf(fields.tools)
  if (tools) out.tools = tools
  const { chat_template_kwargs: given } = fields
  if (given != null && given !== '') out.chat_template_kwargs = objectOf(given, 'chat_template_kwargs')
  return out
}

/** A conversation with what stands beside it: a pair where there is a rejected answer, a labelled row where there is a label. */
export function finished(messages: Message[], fields: Fields, has: (column: string) => boolean): Row {
  if (has('rejected_messages')) return { ...split(messages, conversation(fields.rejected_messages, undefined, 'rejected_messages')), ...marginOf(fields), ...chatFields(fields) }
  if (has('rejected_response')) {
    const rejected = answer(fields.rejected_response, 'rejected_response')
    if (rejected.length === 1 && rejected[0].content === messages.at(-1)?.content) throw new BadRow('the same as the answer', 'rejected_response')
    return { ...split(messages, [{ role: 'user', content: '' }, ...rejected]), ...marginOf(fields), ...chatFields(fields) }
  }
  const row = { messages, ...chatFields(fields) }
  if (fields.label == null) return row
  const label = labelOf(fields.label)
  return typeof label === 'boolean' ? { ...row, label } : { ...row, label }
}

export function marginOf({ margin }: Fields): { margin?: number } {
  if (margin == null || margin === '') return {}
  const value = typeof margin === 'string' ? Number(margin) : margin
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new BadRow(`expected a number, found ${shown(margin)}`, 'margin')
  return { margin: value }
}

/** One answer as messages: its text, its message, or several messages. */
export function answer(value: unknown, column: string): Message[] {
  if (value == null) throw new BadRow(`expected an answer, found ${shown(value)}`, column)
  if (Array.isArray(value)) return conversation(value, undefined, column)
  return isObject(value) ? conversation([value], undefined, column) : [{ role: 'assistant', content: textOf(value, column) }]
}

/** Two conversations as prompt and answers: the answer is what follows the last message of the user. */
function split(chosen: Message[], rejected: Message[]): PairRow {
  const behind = (messages: Message[]) => messages.findLastIndex(({ role }) => role === 'user') + 1
  const [at, other] = [behind(chosen), behind(rejected)]
  if (at === 0) throw new BadRow('there is no message of the user', 'messages')
  if (at === chosen.length) throw new BadRow('there is no answer', 'messages')
  if (other === 0 || other === rejected.length) throw new BadRow('there is no answer', 'rejected_messages')
  return { prompt: chosen.slice(0, at), chosen: chosen.slice(at), rejected: rejected.slice(other) }
}
