import { filledUp } from '../data/collate.js'
import type { GenerateStepsOptions } from '../generate.js'
import type { Model } from '../model.js'

/** An answer that was drawn. */
export interface Sampled {
  /** Its tokens, the end token included where it has one. */
  tokenIds: number[]
  /** Whether it came to its end before the limit. */
  ended: boolean
}

/** Draws an answer to each prompt, in one batch; the prompts are padded on the left. */
export async function sampled(model: Model, prompts: number[][], padTokenId: number, options: GenerateStepsOptions): Promise<Sampled[]> {
  const { inputIds, attentionMask } = filledUp(prompts.map(ids => ({ inputIds: ids })), { padTokenId, paddingSide: 'left' })
  const answers: Sampled[] = prompts.map(() => ({ tokenIds: [], ended: false }))
  const over = prompts.map(() => false)
  for await (const { tokenIds, finishReasons } of model.generateSteps({ inputIds, attentionMask }, { ...options, padTokenId })) {
    for (const [row, answer] of answers.entries()) {
      if (over[row]) continue
      answer.tokenIds.push(tokenIds[row])
      over[row] = finishReasons[row] !== null
      answer.ended = finishReasons[row] === 'eos' || finishReasons[row] === 'stop'
    }
  }
  return answers
}
