/** Prompts with their answers as one batch. */
import { collated } from '../data/collate.js'
import { IGNORE } from '../data/encoded.js'
import type { ModelInputs } from '../inputs.js'

/** A prompt and what follows it. */
export interface Answered {
  promptIds: number[]
  answerIds: number[]
}

/** The batch of some answers, padded on the right, whose labels are the answers; without a pad token 0 fills up, which the mask hides. */
export function answerBatch(rows: Answered[], padTokenId = 0): ModelInputs {
  const labelled = ({ promptIds, answerIds }: Answered) => ({ inputIds: [...promptIds, ...answerIds], labels: [...promptIds.map(() => IGNORE), ...answerIds] })
  return collated(rows.map(labelled), { padTokenId, positionIds: false })
}
