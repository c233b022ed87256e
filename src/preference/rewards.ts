import { SwiftTunersError } from '../errors.js'
import { mean } from '../mean.js'
import { shown } from '../options.js'

/** An answer that was drawn, for those who judge it. */
export interface Completion {
  /** The row that it answers, with everything that the data has of it. */
  row: Record<string, unknown>
  /** The row's prompt: a conversation or a text. */
  prompt: unknown
  /** What the model said, without special tokens. */
  completion: string
  /** Its tokens, the end token included where it has one. */
  completionIds: number[]
  /** Whether it came to its end before the limit. */
  ended: boolean
}

/** Says how good an answer is. The function's name is what its mean is called in a step's metrics. */
export type RewardFunction = (completion: Completion) => number | Promise<number>

/** What all functions together find, and the mean of each by its name. */
export async function rewarded(functions: RewardFunction[], weights: number[], completions: Completion[]): Promise<{ rewards: number[]; means: Record<string, number> }> {
  const rewards = completions.map(() => 0)
  const means: Record<string, number> = {}
  for (const [at, f] of functions.entries()) {
    const found = await Promise.all(completions.map(async completion => f(completion)))
    const odd = found.find(value => typeof value !== 'number' || !Number.isFinite(value))
    const name = f.name || String(at)
    if (odd !== undefined) throw new SwiftTunersError('ERR_INVALID_CONFIG', `rewards: ${name}: expected a finite number for each answer, found ${shown(odd)}`)
    found.forEach((value, i) => { rewards[i] += weights[at] * value })
    means[`rewards/${name}`] = mean(found)
  }
  return { rewards, means }
}
