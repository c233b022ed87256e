import { answeringMode } from '../answering-mode.js'
import type { Message } from '../data/rows.js'
import { GRPO, type GRPOLossOptions } from '../losses/grpo.js'
import type { Model } from '../model.js'
import { callable, checkOptions, integer, invalid, list, number, oneOf, only, type OptionTable, requireOptions, where } from '../options.js'
import type { AutoTokenizer } from '../tokenizer.js'
import { Trainer } from '../trainer.js'
import type { ComputedLoss, LossContext, TrainerOptions } from '../trainer/options.js'
import { policyLoss, type PromptBatch } from './grpo-loss.js'
import type { RewardFunction } from './rewards.js'
import { batchSources, dataset, ROWS, type RowOptions, type Rows, RUNNING_OPTIONS, type RunningOptions, SOURCES } from './rows.js'

/** A row that is answered; the rest of its fields is for those who judge the answers. */
export interface PromptRow {
  /** What is answered: a conversation that goes through the chat template, or a text that does not. */
  prompt: Message[] | string
  [field: string]: unknown
}

/** What group relative policy optimisation is trained with. */
export interface GRPOTrainerOptions extends RunningOptions, Omit<RowOptions, 'tokenizer' | 'truncation'>, GRPOLossOptions {
  /** Prompts. `batchSize` counts them; default 1. */
  train: Rows<PromptRow>
  /** The same, for evaluations. */
  evaluate?: Rows<PromptRow>
  /** Makes ids of prompts and text of answers. */
  tokenizer: AutoTokenizer
  /** How good answers are; what they find is added. */
  rewards: RewardFunction | RewardFunction[]
  /** How much each of them counts. Default: 1. */
  rewardWeights?: number[]
  /** Answers to each prompt. Default 8. */
  numGenerations?: number
  /** What advantages are divided by. Default group. */
  scaleRewards?: 'group' | 'batch' | 'none'
  /** How answers are drawn. Default 1: from the model's own distribution. */
  temperature?: number
  /** As `generate` has it. */
  topK?: number
  /** As `generate` has it. */
  topP?: number
  /** As `generate` has it. */
  minP?: number
}

type Own = Pick<GRPOTrainerOptions, 'train' | 'evaluate' | 'rewards' | 'rewardWeights' | 'numGenerations' | 'scaleRewards' | 'temperature' | 'topK' | 'topP' | 'minP'>
const OWN: OptionTable<Own> = {
  ...SOURCES,
  rewards: where('a function or a list of functions', v => callable.accepts(v) || list(callable, 1).accepts(v)),
  rewardWeights: list(number()),
  numGenerations: integer({ min: 2 }),
  scaleRewards: oneOf('group', 'batch', 'none'),
  temperature: number({ above: 0 }), topK: integer({ min: 0 }), topP: number({ above: 0, max: 1 }), minP: number({ min: 0, max: 1 }),
}
const { truncation: _, ...PROMPTS } = ROWS

/**
 * Group relative policy optimisation with rewards from functions: the model answers each prompt several times, and answers that are better than the
 * others get likelier. Each batch of answers is used once, so that the ratios that are cut begin at 1. Shao et al. 2024 (arXiv 2402.03300); the
 * options are TRL's.
 */
export class GRPOTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: GRPOTrainerOptions) {
    super(trainerOptions(options))
  }
}

function trainerOptions(options: GRPOTrainerOptions): TrainerOptions {
  const call = 'GRPOTrainer'
  const checked = checkOptions(call, options, { ...RUNNING_OPTIONS, ...PROMPTS, ...OWN, ...GRPO } as OptionTable<GRPOTrainerOptions>)
  requireOptions(call, checked, 'model', 'train', 'optimizer', 'tokenizer', 'rewards')
  const { tokenizer, maxCompletionLength = 256, numGenerations = 8, scaleRewards = 'group', temperature = 1, topK, topP, minP, maxLength = Infinity } = checked
  const rewards = [checked.rewards].flat()
  const rewardWeights = checked.rewardWeights ?? rewards.map(() => 1)
  if (rewardWeights.length !== rewards.length) throw invalid('rewardWeights', `${call}: rewardWeights: expected ${rewards.length}, one for each of rewards, found ${rewardWeights.length}`)
  const sampling = { temperature, ...(topK === undefined ? {} : { topK }), ...(topP === undefined ? {} : { topP }), ...(minP === undefined ? {} : { minP }) }
  const policy = { tokenizer, rewards, rewardWeights, numGenerations, scaleRewards, sampling, maxCompletionLength, loss: only<GRPOLossOptions>(checked, GRPO) }

  const encode = ({ prompt, ...rest }: PromptRow) => {
    if (typeof prompt !== 'string' && !Array.isArray(prompt)) throw invalid('train', `${call}: train: a row has no prompt (${Object.keys(rest).slice(0, 6).join(', ')})`)
    const text = typeof prompt === 'string' ? prompt : tokenizer.applyChatTemplate(prompt as never, { addGenerationPrompt: true, ...checked.templateKwargs, ...(checked.chatTemplate === undefined ? {} : { chatTemplate: checked.chatTemplate }) } as never)
    return { row: { prompt, ...rest }, promptIds: tokenizer.encode(text, { addSpecialTokens: typeof prompt === 'string' }) }
  }
  const sources = batchSources(checked, (name, data, shuffle) => {
    const prompts = dataset(call, name, data, true).map(encode).filter(({ promptIds }) => promptIds.length > 0 && promptIds.length <= maxLength)
    return (shuffle ? prompts.shuffle() : prompts).batch(checked.batchSize ?? 1).map(all => ({ prompts: all }) as unknown as PromptBatch)
  })
  const computeLoss = (model: Model, batch: PromptBatch, context: LossContext): Promise<ComputedLoss> => answeringMode(model, () => policyLoss(model, batch, context, policy))
  return {
    ...only<RunningOptions>(checked, RUNNING_OPTIONS),
    ...sources,
    computeLoss: computeLoss as unknown as TrainerOptions['computeLoss'],
    lossItems: batch => (batch as PromptBatch).prompts.length,
  }
}
