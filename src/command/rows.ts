/** The rows that a command works on. */
import { existsSync, readFileSync } from 'node:fs'
import { concatenate, Dataset, type Format, interleave, loadDataset, type LoadDatasetOptions, type Message } from '../../index.js'
import { invalid } from '../options.js'
import type { ValuesOf } from './argument.js'
import type { DATA } from './options/data.js'
import type { TEMPLATE } from './options/model.js'

type Args = Pick<ValuesOf<typeof DATA>, 'dataset_format' | 'columns' | 'strict' | 'data_seed'> & { use_hf: boolean; seed?: number; system?: string }

/** Rows to learn from, and rows to measure by. */
export interface Rows {
  train: Dataset<object>
  evaluate?: Dataset<object>
}

/** One of `--dataset`'s: a file, a folder, a pattern or an id, with `#N` for so many of its rows. */
export function source(text: string, args: Args, format: Format = args.dataset_format): Dataset<object> {
  const [, path, count] = /^(.*?)(?:#(\d+))?$/s.exec(text)!
  const options: LoadDatasetOptions = { format, strict: args.strict, ...(args.columns ? { columns: args.columns as Record<string, string> } : {}), ...(args.use_hf && !existsSync(path) ? { hub: 'huggingface' } : {}) }
  const rows = loadDataset<object>(path, options)
  const counted = count === undefined ? rows : rows.shuffle({ seed: args.data_seed ?? args.seed ?? 0 }).take(Number(count))
  const system = args.system === undefined ? undefined : systemText(args.system)
  return system === undefined ? counted : counted.map(row => withSystem(row, system))
}

/** All of them in one. */
export function sources(texts: string[], args: Args, format?: Format): Dataset<object> {
  const all = texts.map(text => source(text, args, format))
  return all.length === 1 ? all[0] : concatenate(...all)
}

/** Training rows and evaluation rows, as `--dataset`, `--val_dataset` and `--split_dataset_ratio` say. */
export function trainingRows(args: Args & ValuesOf<typeof DATA>, format?: Format): Rows {
  if (args.dataset.length === 0) throw invalid('dataset', '--dataset: missing')
  const { interleave_prob: shares } = args
  if (shares && shares.length !== args.dataset.length) throw invalid('interleave_prob', `--interleave_prob: expected ${args.dataset.length} numbers, one for each dataset, found ${shares.length}`)
  const all = shares ? interleave(args.dataset.map(text => source(text, args, format)), { probabilities: shares }) : sources(args.dataset, args, format)
  if (args.val_dataset.length > 0) return { train: all, evaluate: sources(args.val_dataset, args, format) }
  if (args.split_dataset_ratio === 0) return { train: all }
  const [evaluate, train] = all.split(args.split_dataset_ratio, { seed: args.data_seed ?? args.seed ?? 0 })
  return { train, evaluate }
}

/** A text, or what a file of that name holds. */
const systemText = (text: string): string => (/\.(txt|md)$/.test(text) && existsSync(text) ? readFileSync(text, 'utf8').trim() : text)

/** A conversation with a system message, where it has none. */
function withSystem(row: object, system: string): object {
  const put = (messages: unknown) => (Array.isArray(messages) && (messages as Message[])[0]?.role !== 'system' ? [{ role: 'system', content: system }, ...messages as Message[]] : messages)
  const { messages, prompt } = row as { messages?: unknown; prompt?: unknown }
  return { ...row, ...(messages === undefined ? {} : { messages: put(messages) }), ...(Array.isArray(prompt) ? { prompt: put(prompt) } : {}) }
}

/** How rows become token ids, as `SFTTrainer` and the preference trainers take it. `context` is the model's. */
export function encoding(args: ValuesOf<typeof TEMPLATE>, context: number | undefined): { maxLength?: number; truncation: 'delete' | 'left' | 'right' | 'split'; chatTemplate?: string; templateKwargs?: Record<string, unknown> } {
  const { max_length: maxLength = context, truncation_strategy: truncation, template, template_kwargs: templateKwargs } = args
  const chatTemplate = template !== undefined && existsSync(template) ? readFileSync(template, 'utf8') : template
  return { truncation, ...(maxLength === undefined ? {} : { maxLength }), ...(chatTemplate === undefined ? {} : { chatTemplate }), ...(templateKwargs === undefined ? {} : { templateKwargs }) }
}

/** Tokens that a model's positions have room for, where its config says so. */
export function contextOf(config: Record<string, unknown>): number | undefined {
  const found = config.max_position_embeddings ?? config.n_positions
  return typeof found === 'number' ? found : undefined
}

