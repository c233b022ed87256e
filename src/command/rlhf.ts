/** `rlhf`. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  AutoModel, CPOTrainer, type Dataset, DPOTrainer, encodeDataset, GRPOTrainer, KTOTrainer, type Message, type Model, ORPOTrainer, type PairRow, type PromptRow, RewardTrainer, type RewardFunction, SimPOTrainer,
  type Trainer, type UnpairedRow,
} from '../../index.js'
import { invalid } from '../options.js'
import type { RunningOptions } from '../preference/rows.js'
import type { ValuesOf } from './argument.js'
import type { ExitStatus } from './commands.js'
import { hubOptions, type Loaded } from './load.js'
import type { RLHF } from './options/commands.js'
import { contextOf, encoding, type Rows, trainingRows } from './rows.js'
import { train } from './training-run.js'

type Args = ValuesOf<typeof RLHF>
type Type = Args['rlhf_type']

/** Which options of the losses a method has, and its `beta` where nobody says. */
const METHODS: Record<Type, { beta?: number; options: Partial<Record<keyof Args, string>> }> = {
  dpo: { beta: 0.1, options: { loss_type: 'lossType', label_smoothing: 'labelSmoothing', rpo_alpha: 'rpoAlpha' } },
  orpo: { beta: 0.1, options: {} },
  simpo: { beta: 2, options: { simpo_gamma: 'simpoGamma', cpo_alpha: 'cpoAlpha' } },
  cpo: { beta: 0.1, options: { loss_type: 'lossType', cpo_alpha: 'cpoAlpha' } },
  kto: { beta: 0.1, options: { loss_type: 'lossType', desirable_weight: 'desirableWeight', undesirable_weight: 'undesirableWeight' } },
  rm: { options: { center_rewards_coefficient: 'centerRewardsCoefficient' } },
  grpo: { beta: 0.04, options: { loss_type: 'lossType', epsilon: 'epsilon', epsilon_high: 'epsilonHigh', scale_rewards: 'scaleRewards', reward_weights: 'rewardWeights' } },
}
const OF_LOSSES = [...new Set(Object.values(METHODS).flatMap(({ options }) => Object.keys(options) as (keyof Args)[]))]

/** Training on preferences and rewards. */
export async function rlhf(args: Args): Promise<ExitStatus> {
  const type = args.rlhf_type
  const method = METHODS[type]
  const idle = OF_LOSSES.find(name => args[name] !== undefined && !Object.hasOwn(method.options, name))
  if (idle) throw invalid(idle, `--${idle}: --rlhf_type ${type} has it not`)
  if (args.beta !== undefined && method.beta === undefined) throw invalid('beta', `--beta: --rlhf_type ${type} has it not`)
  if (args.truncation_strategy === 'split') throw invalid('truncation_strategy', '--truncation_strategy: preferences are not split; give delete, left or right')
  const rewards = type === 'grpo' ? await rewardFunctions(args.reward_funcs) : []
  const rows = trainingRows(args, type === 'grpo' ? 'raw' : type === 'kto' && args.dataset_format === 'auto' ? 'kto' : args.dataset_format)
  const evaluates = rows.evaluate !== undefined && (args.eval_strategy ?? args.save_strategy) !== 'no'
  if (args.metric_for_best_model !== 'loss') throw invalid('metric_for_best_model', '--metric_for_best_model: preferences have loss')
  const loss: Record<string, unknown> = method.beta === undefined ? {} : { beta: args.beta ?? method.beta }
  for (const [name, camel] of Object.entries(method.options)) if (args[name as keyof Args] !== undefined) loss[camel] = args[name as keyof Args]
  return train(args, {
    rows: () => rows.train.count(),
    async look({ model, tokenizer }) {
      if (type === 'grpo') await prompts(rows.train).take(1).toArray()
      else {
        const how = encoding(args, contextOf(model.config))
        const [first] = await encodeDataset(tokenizer, rows.train as Dataset<PairRow | UnpairedRow>, how).take(1).toArray()
        const wanted = type === 'kto' ? 'completionIds' : 'chosenIds'
        if (!first || !(wanted in first)) throw invalid('dataset', `--dataset: ${type} takes ${type === 'kto' ? 'answers with a label that is true or false' : 'pairs of a chosen and a rejected answer'}`)
      }
    },
    evaluates,
    trainer: async (common, loaded, batchSize) => {
      const reference = args.ref_model === undefined ? {} : { reference: await AutoModel.fromPretrained(args.ref_model, hubOptions(args)) }
      return trainerOf(type, args, rows, { ...common, ...loss }, loaded, batchSize, evaluates, rewards, reference)
    },
  })
}

function trainerOf(type: Type, args: Args, rows: Rows, common: RunningOptions, { tokenizer, model }: Loaded, batchSize: number, evaluates: boolean, rewards: RewardFunction[], reference: { reference?: Model }): Trainer {
  const { truncation, ...how } = encoding(args, contextOf(model.config))
  const data = { ...common, tokenizer, batchSize, shuffle: args.dataset_shuffle, ...how }
  const of = <T>() => ({ train: rows.train as Dataset<T>, ...(evaluates ? { evaluate: rows.evaluate as Dataset<T> } : {}) })
  const cut = truncation as 'delete' | 'left' | 'right'
  switch (type) {
    case 'dpo': return new DPOTrainer({ ...data, ...of<PairRow>(), truncation: cut, ...reference })
    case 'orpo': return new ORPOTrainer({ ...data, ...of<PairRow>(), truncation: cut })
    case 'simpo': return new SimPOTrainer({ ...data, ...of<PairRow>(), truncation: cut })
    case 'cpo': return new CPOTrainer({ ...data, ...of<PairRow>(), truncation: cut })
    case 'kto': return new KTOTrainer({ ...data, ...of<UnpairedRow>(), truncation: cut, ...reference })
    case 'rm': return new RewardTrainer({ ...data, ...of<PairRow>(), truncation: cut })
    case 'grpo': return new GRPOTrainer({
      ...data, train: prompts(rows.train), ...(evaluates ? { evaluate: prompts(rows.evaluate!) } : {}), rewards,
      numGenerations: args.num_generations, maxCompletionLength: args.max_completion_length, temperature: args.temperature,
    })
  }
}

/** Rows with a prompt; of conversations, what comes before the last answer. */
function prompts(rows: Dataset<object>): Dataset<PromptRow> {
  return rows.map(row => {
    const { prompt, messages, query } = row as { prompt?: PromptRow['prompt']; messages?: Message[]; query?: string }
    if (prompt !== undefined) return row as PromptRow
    if (Array.isArray(messages)) return { ...row, prompt: messages.at(-1)?.role === 'assistant' ? messages.slice(0, -1) : messages }
    if (typeof query === 'string') return { ...row, prompt: [{ role: 'user', content: query }] }
    throw invalid('dataset', `--dataset: a row has neither prompt nor messages nor query (${Object.keys(row).slice(0, 6).join(', ')})`)
  })
}

/** What modules export by default. */
async function rewardFunctions(files: string[]): Promise<RewardFunction[]> {
  if (files.length === 0) throw invalid('reward_funcs', '--reward_funcs: grpo needs at least one module, whose default export is (completion) => number')
  return Promise.all(files.map(async file => {
    const { default: found } = await import(pathToFileURL(resolve(file)).href) as { default?: unknown }
    // What a CommonJS module exports is one level deeper.
    const f = typeof found === 'function' ? found : (found as { default?: unknown } | undefined)?.default
    if (typeof f !== 'function') throw invalid('reward_funcs', `--reward_funcs: ${file}: its default export is no function`)
    return f as RewardFunction
  }))
}
