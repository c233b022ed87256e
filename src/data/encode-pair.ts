/** Answers to prompts as token ids. */
import { SwiftTunersError } from '../errors.js'
import { invalid } from '../options.js'
import type { EncodedPair, EncodedUnpaired } from './encoded.js'
import type { EncodeRowOptions } from './encode-options.js'
import type { ChatFields, Message, PairRow, UnpairedRow } from './rows.js'

/** Texts and conversations as ids, with the options of a run. */
export interface Renderer {
  readonly options: EncodeRowOptions
  /** Ids of a text without a template, special tokens included. */
  plain(text: string): number[]
  /** A text with the end token, unless it ends so. */
  ended(text: string): string
  /** Ids of a conversation as the template lays it out. */
  rendered(messages: Message[], row: ChatFields, addGenerationPrompt: boolean): number[]
}

/** Prompt and answers; the prompt is what its ids and those of both whole sequences begin with in common. */
export function encodePair(encoder: Renderer, row: PairRow): EncodedPair[] {
  const [chosen, rejected] = [sequence(encoder, row, row.chosen), sequence(encoder, row, row.rejected)]
  const prompt = typeof row.prompt === 'string' ? encoder.plain(row.prompt) : encoder.rendered(row.prompt, row, true)
  const at = Math.min(common(prompt, chosen), common(prompt, rejected))
  const fitted = fit(encoder, prompt.slice(0, at), [chosen.slice(at), rejected.slice(at)])
  if (!fitted) return []
  const [promptIds, chosenIds, rejectedIds] = fitted
  return [{ promptIds, chosenIds, rejectedIds, ...(row.margin === undefined ? {} : { margin: row.margin }) }]
}

function sequence(encoder: Renderer, row: PairRow, answer: Message[] | string): number[] {
  const { prompt } = row
  if (typeof prompt === 'string' && typeof answer === 'string') return encoder.plain(encoder.ended(prompt + answer))
  if (Array.isArray(prompt) && Array.isArray(answer)) return encoder.rendered([...prompt, ...answer], row, false)
  throw new SwiftTunersError('ERR_INVALID_CONFIG', 'encodeRow: row: prompt, chosen and rejected must be texts or messages, all of them')
}

/** A prompt and the answer that is good or bad: what follows the last message of the user. */
export function encodeUnpaired(encoder: Renderer, row: UnpairedRow): EncodedUnpaired[] {
  const { messages, label } = row
  const at = messages.findLastIndex(({ role }) => role === 'user') + 1
  if (at === 0 || at === messages.length) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'encodeRow: row: messages: expected an answer to a message of the user')
  const prompt = encoder.rendered(messages.slice(0, at), row, true)
  const whole = encoder.rendered(messages, row, false)
  const n = common(prompt, whole)
  const fitted = fit(encoder, prompt.slice(0, n), [whole.slice(n)])
  return fitted ? [{ promptIds: fitted[0], completionIds: fitted[1], label }] : []
}

/**
 * Prompt and answers of at most `maxLength` together: `left` takes from the prompt's beginning, `right` from the answers' ends. Nothing where
 * an answer would be empty.
 */
function fit(encoder: Renderer, prompt: number[], answers: number[][]): number[][] | undefined {
  const { maxLength = Infinity, truncation = 'delete' } = encoder.options
  const longest = Math.max(...answers.map(({ length }) => length))
  if (prompt.length + longest <= maxLength) return [prompt, ...answers]
  switch (truncation) {
    case 'delete': return undefined
    case 'split': throw invalid('truncation', 'truncation: answers to a prompt cannot be split; give delete, left or right')
    case 'left': return longest < maxLength ? [prompt.slice(prompt.length - (maxLength - longest)), ...answers] : undefined
    case 'right': return prompt.length < maxLength ? [prompt, ...answers.map(ids => ids.slice(0, maxLength - prompt.length))] : undefined
  }
}

/** How long the common beginning is. */
export function common(a: number[], b: number[]): number {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n
}
