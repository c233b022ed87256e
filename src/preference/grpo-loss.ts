import { createHash } from 'node:crypto'
import { groupAdvantages, grpoLoss, type GRPOLossOptions } from '../losses/grpo.js'
import { mean } from '../mean.js'
import type { Model } from '../model.js'
import type { AutoTokenizer } from '../tokenizer.js'
import type { ComputedLoss, LossContext } from '../trainer/options.js'
import { answerBatch } from './answers.js'
import { sequenceLogps } from './logps.js'
import { referenceLogps } from './reference.js'
import { type Completion, rewarded, type RewardFunction } from './rewards.js'
import type { Batch } from './rows.js'
import { sampled } from './sample.js'

/** Prompts of a batch, with the rows that they are of. */
export type PromptBatch = Batch<{ prompts: { row: Record<string, unknown>; promptIds: number[] }[] }>

/** How answers are drawn. */
export interface SamplingOptions {
  /** 1 draws from the model's own distribution. */
  temperature: number
  topK?: number
  topP?: number
  minP?: number
}

/** All that the loss of a batch of prompts depends on. */
export interface Policy {
  tokenizer: AutoTokenizer
  rewards: RewardFunction[]
  rewardWeights: number[]
  numGenerations: number
  scaleRewards: 'group' | 'batch' | 'none'
  sampling: SamplingOptions
  maxCompletionLength: number
  loss: GRPOLossOptions
}

/**
 * One step of group relative policy optimisation: draws answers to each prompt, asks how good they are, and gives the loss by which better ones
 * get likelier. What is drawn follows from the trainer's seed, the step and the prompts alone.
 */
export async function policyLoss(model: Model, { prompts }: PromptBatch, { training, seed, step, signal }: LossContext, policy: Policy): Promise<ComputedLoss> {
  const { tokenizer, numGenerations, maxCompletionLength, scaleRewards, loss } = policy
  const asked = prompts.flatMap(prompt => Array.from({ length: numGenerations }, () => prompt))
  const pad = tokenizer.padTokenId ?? tokenizer.eosTokenId ?? 0
  const draws = { ...policy.sampling, maxNewTokens: maxCompletionLength, seed: drawn(seed, step, prompts), contextOverflow: 'stop' as const, signal }
  const answers = await sampled(model, asked.map(({ promptIds }) => promptIds), pad, draws)
  const completions = answers.map(({ tokenIds, ended }, i): Completion =>
    ({ row: asked[i].row, prompt: asked[i].row.prompt ?? asked[i].row.messages, completion: tokenizer.decode(tokenIds), completionIds: tokenIds, ended }))
  const { rewards, means } = await rewarded(policy.rewards, policy.rewardWeights, completions)
  const advantages = groupAdvantages(rewards, { numGenerations, scaleRewards })

  const batch = answerBatch(asked.map(({ promptIds }, i) => ({ promptIds, answerIds: answers[i].tokenIds })), pad)
  const own = await sequenceLogps(model, batch, { grad: training, signal })
  const reference = loss.beta ? await referenceLogps(model, 'disabled', batch, signal) : undefined
  const found = grpoLoss({ logps: own.perToken, mask: own.mask, advantages, ...(reference ? { refLogps: reference.perToken } : {}) }, { ...loss, maxCompletionLength })
  const groups = prompts.map((_, i) => rewards.slice(i * numGenerations, (i + 1) * numGenerations))
  const metrics = {
    reward: mean(rewards),
    rewardStd: mean(groups.map(group => Math.sqrt(mean(group.map(r => (r - mean(group)) ** 2))))),
    ...means,
    completionLength: mean(answers.map(({ tokenIds }) => tokenIds.length)),
    endedShare: mean(answers.map(({ ended }) => Number(ended))),
    kl: found.kl,
    clipRatio: found.clipRatio,
  }
  return { loss: found.loss, metrics }
}

/** Another seed for each step and batch. */
function drawn(seed: number, step: number, prompts: PromptBatch['prompts']): number {
  const hash = createHash('sha1').update(`${seed} ${step}`)
  for (const { promptIds } of prompts) hash.update(`\n${promptIds.join()}`)
  return hash.digest().readUIntBE(0, 6)
}
