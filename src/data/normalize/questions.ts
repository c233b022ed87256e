/** Questions and answers in columns (SWIFT's ResponsePreprocessor and AlpacaPreprocessor). */
import { BadRow } from '../place.js'
import type { Message, Row } from '../rows.js'
import { finished } from './answers.js'
import type { Fields } from './columns.js'
import { listOf, textOf } from './values.js'

/** A row with `query`, `response`, `history` and `system`; what is not there gives no message. */
export function readQuestion(fields: Fields, has: (column: string) => boolean): Row {
  const messages: Message[] = []
  if (fields.system != null) messages.push({ role: 'system', content: textOf(fields.system, 'system') })
  const { history } = fields
  const rounds = history == null || history === '' ? [] : listOf(history, 'history')
  for (const [i, round] of rounds.entries()) {
    if (!Array.isArray(round) || round.length < 2) throw new BadRow('expected a question and an answer', `history[${i}]`)
    add(messages, round[0], round[1], `history[${i}]`)
  }
  const response = Array.isArray(fields.response) ? fields.response[0] as unknown : fields.response
  add(messages, fields.query, response, undefined)
  if (messages.length === 0) throw new BadRow('there is neither a question nor an answer')
  return finished(messages, fields, has)
}

function add(messages: Message[], question: unknown, reply: unknown, column: string | undefined): void {
  if (question != null) messages.push({ role: 'user', content: textOf(question, column ?? 'query') })
  if (reply != null) messages.push({ role: 'assistant', content: textOf(reply, column ?? 'response') })
}

/** A row with `instruction`, `input` and `output`: both of the question in lines below each other, or the one that is not empty. */
export function readAlpaca({ instruction, input, output, ...fields }: Fields, has: (column: string) => boolean): Row {
  const [first, second] = [instruction ?? '', input ?? ''].map((value, i) => textOf(value, i === 0 ? 'instruction' : 'input'))
  if (instruction == null && input == null) throw new BadRow('expected text, found null', 'instruction')
  return readQuestion({ ...fields, query: first && second ? `${first}\n${second}` : first || second, response: output ?? fields.response }, has)
}
