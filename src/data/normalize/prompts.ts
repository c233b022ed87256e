/** Rows of TRL: prompt and completion, chosen and rejected. */
import { shown } from '../../options.js'
import { same } from '../json-source.js'
import { BadRow } from '../place.js'
import type { Message, PairRow, Row } from '../rows.js'
import { answer, chatFields, finished, marginOf } from './answers.js'
import type { Fields } from './columns.js'
import { conversation } from './messages.js'
import { textOf } from './values.js'

/** `prompt` and `completion` as messages: of the answers only the completion's count, unless a label says whether it is good. */
export function readChatPrompt(fields: Fields, has: (column: string) => boolean): Row {
  const prompt = typeof fields.prompt === 'string' ? [{ role: 'user', content: fields.prompt } satisfies Message] : conversation(fields.prompt, fields.system, 'prompt')
  const completion = fields.completion == null ? [] : answer(fields.completion, 'completion')
  const labelled = fields.label != null
  const asked = labelled || completion.length === 0 ? prompt : prompt.map(message => (message.role === 'assistant' ? { ...message, loss: false } : message))
  return finished([...asked, ...completion], fields, has)
}

/** `prompt` and `completion` as texts, without a chat template. */
export function readTextPrompt({ prompt, completion, query, response }: Fields): Row {
  return { prompt: textOf(prompt ?? query, 'prompt'), completion: textOf(completion ?? response, 'completion') }
}

/** `chosen` and `rejected`, with a prompt or with one that both begin with. */
export function readPair(fields: Fields): PairRow {
  const [chosen, rejected] = (['chosen', 'rejected'] as const).map(name => sides(fields[name], name))
  if (typeof chosen !== typeof rejected) throw new BadRow(`${shown(fields.rejected)} where chosen is ${shown(fields.chosen)}`, 'rejected')
  const rest = { ...marginOf(fields), ...chatFields(fields) }
  const { prompt, messages, query } = fields
  const asked = prompt ?? messages ?? (typeof chosen === 'string' ? query : undefined)
  if (messages != null && prompt == null) return { prompt: conversation(messages, fields.system), chosen: answer(fields.chosen, 'chosen'), rejected: answer(fields.rejected, 'rejected'), ...rest }
  if (prompt == null && asked != null) {
    // A column that is a question by its name belongs to a conversation.
    const system: Message[] = fields.system == null ? [] : [{ role: 'system', content: textOf(fields.system, 'system') }]
    return { prompt: [...system, { role: 'user', content: textOf(asked, 'query') }], chosen: answer(chosen, 'chosen'), rejected: answer(rejected, 'rejected'), ...rest }
  }
  if (Array.isArray(prompt) && typeof chosen !== 'string') return { prompt: conversation(prompt, fields.system, 'prompt'), chosen, rejected, ...rest }
  if (typeof prompt === 'string' && typeof chosen === 'string') return { prompt, chosen, rejected, ...rest }
  return { ...implicit(chosen, rejected), ...rest }
}

function sides(value: unknown, column: string): string | Message[] {
  return typeof value === 'string' ? value : answer(value, column)
}

/** The common beginning as the prompt (TRL's `extract_prompt`): of messages, or of characters but for a space before the difference. */
function implicit(chosen: string | Message[], rejected: string | Message[]): Pick<PairRow, 'prompt' | 'chosen' | 'rejected'> {
  const [a, b]: unknown[][] = [[...chosen], [...rejected as Iterable<unknown>]]
  const end = Math.min(a.length, b.length)
  if (end === 0) throw new BadRow('expected an answer', a.length === 0 ? 'chosen' : 'rejected')
  let cut = 0
  while (cut < end && same(a[cut], b[cut])) cut++
  // TRL leaves one element to each where one is the beginning of the other, so that no answer is empty.
  if (cut === end) cut--
  else if (cut > 0 && a[cut - 1] === ' ') cut--
  const parts = [a.slice(0, cut), a.slice(cut), b.slice(cut)].map(part => (typeof chosen === 'string' ? part.join('') : part as Message[]))
  return { prompt: parts[0], chosen: parts[1], rejected: parts[2] }
}
