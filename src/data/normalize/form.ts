/** What rows are, by their columns. */
import { isObject, shown } from '../../options.js'
import { BadRow } from '../place.js'
import type { Row, TokenRow } from '../rows.js'
import { finished } from './answers.js'
import { claimed, CONVERSATION, type Fields, NAMED, QUESTION } from './columns.js'
import { conversation } from './messages.js'
import { readChatPrompt, readPair, readTextPrompt } from './prompts.js'
import { readAlpaca, readQuestion } from './questions.js'
import { idsOf, labelOf, textOf } from './values.js'

/** How rows are read; `auto` goes by their columns. */
export const FORMATS = [
  'auto', 'messages', 'sharegpt', 'alpaca', 'query-response', 'text', 'prompt-completion', 'preference', 'kto', 'classification', 'tokens', 'raw',
] as const
/** How rows are read. */
export type Format = typeof FORMATS[number]

/** A way to read rows: what columns claim which parts, and what becomes of the parts. */
export interface Form {
  claims: ReadonlyMap<string, string>
  read(fields: Fields, has: (column: string) => boolean): Row
}

const MESSAGES: Form = { claims: CONVERSATION, read: (fields, has) => finished(conversation(fields.messages, fields.system), fields, has) }
const QUESTIONS: Form = { claims: QUESTION, read: readQuestion }
const ALPACA: Form = { claims: QUESTION, read: readAlpaca }
const CHAT_PROMPT: Form = { claims: NAMED, read: readChatPrompt }
const TEXT_PROMPT: Form = { claims: NAMED, read: readTextPrompt }
const TEXT: Form = { claims: NAMED, read: ({ text }) => ({ text: textOf(text, 'text') }) }
const TEXT_LABEL: Form = { claims: NAMED, read: ({ text, label }) => labelled({ text: textOf(text, 'text') }, label) }
const TOKENS: Form = { claims: new Map(), read: tokens }
/** A question by its name stays one where there is no `prompt`. */
const PAIR: Form = { claims: new Map([...NAMED, ['question', 'query'], ['instruction', 'query'], ['input', 'query'], ['problem', 'query'], ['conversations', 'messages'], ['conversation', 'messages']]), read: readPair }

function labelled(row: { text: string }, value: unknown): Row {
  const label = labelOf(value)
  if (typeof label === 'boolean') return { messages: [{ role: 'assistant', content: row.text }], label }
  return { ...row, label }
}

function tokens({ input_ids, labels, attention_mask: mask }: Fields): TokenRow {
  const row: TokenRow = { input_ids: idsOf(input_ids, 'input_ids') }
  if (row.input_ids.length === 0) throw new BadRow('there are no tokens', 'input_ids')
  if (labels != null) row.labels = idsOf(labels, 'labels')
  if (mask != null) row.attention_mask = idsOf(mask, 'attention_mask')
  for (const name of ['labels', 'attention_mask'] as const) {
    if (row[name] && row[name].length !== row.input_ids.length) throw new BadRow(`${row[name].length} where there are ${row.input_ids.length} tokens`, name)
  }
  return row
}

/** The label as what the format wants. */
function withLabel(form: Form, kind: 'kto' | 'classification'): Form {
  return {
    claims: form.claims,
    read(fields, has) {
      const label = labelOf(fields.label)
      if (kind === 'kto' && label !== true && label !== false && label !== 0 && label !== 1) throw new BadRow(`expected true or false, found ${shown(label)}`, 'label')
      return form.read({ ...fields, label: kind === 'kto' ? Boolean(label) : Number(label) }, has)
    },
  }
}

/** The form of rows that have these columns, by what is asked for; `undefined` where there is none. `example` is one of the rows. */
export function formOf(format: Format, columns: ReadonlySet<string>, example: object): Form | undefined {
  const has = (...names: string[]) => names.every(name => columns.has(name))
  const messages = has('messages') || has('conversation') || has('conversations')
  const pair = has('chosen', 'rejected')
  const { prompt, completion } = example as Fields
  const chat = Array.isArray(prompt) || Array.isArray(completion) || isObject(completion)
  // What several columns claim is nobody's, unless one has that very name.
  const parts = new Set([...columns, ...claimed(columns, QUESTION).values()])
  const question = parts.has('query') || parts.has('response') ? QUESTIONS : undefined
  const textLabel = has('text', 'label') && !parts.has('query') && ![...columns].some(name => name !== 'text' && QUESTION.get(name) === 'response')
  const alpaca = has('instruction', 'input') ? ALPACA : undefined
  const conversations = messages ? MESSAGES : chat ? CHAT_PROMPT : alpaca ?? question

  switch (format) {
    case 'auto':
      if (has('input_ids')) return TOKENS
      if (messages) return MESSAGES
      if (pair) return PAIR
      return textLabel ? TEXT_LABEL : conversations
    case 'messages':
    case 'sharegpt': return messages ? MESSAGES : undefined
    case 'alpaca': return has('instruction') ? ALPACA : undefined
    case 'query-response': return question
    case 'text': return has('text') ? TEXT : undefined
    case 'prompt-completion':
      if (chat) return CHAT_PROMPT
      return has('prompt', 'completion') ? TEXT_PROMPT : parts.has('query') && parts.has('response') ? { ...TEXT_PROMPT, claims: QUESTION } : undefined
    case 'preference':
      if (pair) return PAIR
      return has('rejected_response') || has('rejected_messages') ? conversations : undefined
    case 'kto': return has('label') && conversations ? withLabel(conversations, 'kto') : undefined
    case 'classification': {
      const form = textLabel ? TEXT_LABEL : conversations
      return has('label') && form ? withLabel(form, 'classification') : undefined
    }
    case 'tokens': return has('input_ids') ? TOKENS : undefined
    case 'raw': return undefined
  }
}
