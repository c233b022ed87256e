/** Which tokens of a conversation are trained. */
import { type Encoded, IGNORE } from './encoded.js'
import type { Turn } from './row-tokenizer.js'
import type { Message } from './rows.js'

/**
 * What is trained: the assistant's messages (`assistant`), those after the last message of the user or of a tool (`last`), or everything
 * (`all`).
 */
export type Loss = 'assistant' | 'last' | 'all'

/**
 * Token ids with labels. A message's own `loss` beats the strategy; `loss_scale` weights its tokens. The first label never counts (nothing
 * comes before it).
 */
export function labelled(inputIds: number[], turns: Turn[], messages: Message[], loss: Loss): Encoded {
  const last = messages.findLastIndex(({ role }) => role === 'user' || role === 'tool')
  const labels = loss === 'all' ? [...inputIds] : inputIds.map(() => IGNORE)
  const lossScale = inputIds.map((): number => (loss === 'all' ? 1 : 0))
  for (const { message, start, end } of turns) {
    const { loss: own, loss_scale: scale = 1 } = messages[message]
    const counts = own ?? (loss !== 'last' || message > last)
    for (let i = start; i < end; i++) {
      labels[i] = counts ? inputIds[i] : IGNORE
      lossScale[i] = counts ? scale : 0
    }
  }
  if (labels.length > 0) {
    labels[0] = IGNORE
    lossScale[0] = 0
  }
  return messages.some(message => message.loss_scale !== undefined) ? { inputIds, labels, lossScale } : { inputIds, labels }
}

/** What becomes of rows that are too long: they go, keep their last tokens, their first, or become several. */
export type Truncation = 'delete' | 'left' | 'right' | 'split'

/** A row of at most `maxLength` tokens, or several, or none. The first label of what was cut never counts. */
export function truncated(row: Encoded, maxLength: number, truncation: Truncation): Encoded[] {
  const length = row.inputIds.length
  if (length <= maxLength) return [row]
  switch (truncation) {
    case 'delete': return []
    case 'left': return [cut(row, length - maxLength, length)]
    case 'right': return [cut(row, 0, maxLength)]
    case 'split': return Array.from({ length: Math.ceil(length / maxLength) }, (_, i) => cut(row, i * maxLength, (i + 1) * maxLength))
  }
}

function cut({ inputIds, labels, lossScale }: Encoded, from: number, to: number): Encoded {
  const out: Encoded = { inputIds: inputIds.slice(from, to), labels: [IGNORE, ...labels.slice(from + 1, to)] }
  if (lossScale) out.lossScale = [0, ...lossScale.slice(from + 1, to)]
  return out
}
