/** Prompts with their answers as one batch. */
import type { ModelInputs } from '../inputs.js'

/** A prompt and what follows it. */
export interface Answered {
  promptIds: number[]
  answerIds: number[]
}

/** Right-padded rows whose labels are the answers. */
export interface AnswerBatch extends ModelInputs {
  inputIds: number[][]
  attentionMask: number[][]
  labels: number[][]
}

/** The batch of some answers; without a pad token 0 fills up, which the mask hides. */
export function answerBatch(rows: Answered[], padTokenId = 0): AnswerBatch {
  const width = Math.max(...rows.map(({ promptIds, answerIds }) => promptIds.length + answerIds.length))
  const filled = (row: number[], fill: number) => [...row, ...Array<number>(width - row.length).fill(fill)]
  return {
    inputIds: rows.map(({ promptIds, answerIds }) => filled([...promptIds, ...answerIds], padTokenId)),
    attentionMask: rows.map(({ promptIds, answerIds }) => filled([...promptIds, ...answerIds].map(() => 1), 0)),
    labels: rows.map(({ promptIds, answerIds }) => filled([...promptIds.map(() => -100), ...answerIds], -100)),
  }
}
