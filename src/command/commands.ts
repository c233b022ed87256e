/** The commands: what each does, what it takes, and the page that does it, which is loaded when it runs. */
import type { OptionGroup, ValuesOf } from './argument.js'
import { EVAL, EXPORT, INFER, INSPECT, PLAN, RLHF, SFT, SHOW } from './options/commands.js'

/** How a command ends; 130 where it was interrupted. */
export type ExitStatus = 0 | 1 | 130

/** One command. */
export interface Command<G extends OptionGroup = OptionGroup> {
  readonly summary: string
  /** A line that can be typed. */
  readonly example: string
  readonly options: G
  /** The option that arguments without a name are for. */
  readonly positional?: keyof G & string
  /** What it takes up of the args.json of an adapter. Default: all that says how a model is loaded and how rows become tokens. */
  readonly remembers?: readonly (keyof G & string)[]
  readonly load: () => Promise<(args: ValuesOf<G>) => Promise<ExitStatus>>
}

/** Only for the compiler: the page takes what the options give. */
const command = <G extends OptionGroup>(one: Command<G>): Command => one as unknown as Command

export const COMMANDS: Readonly<Record<string, Command>> = {
  sft: command({
    summary: 'Supervised fine-tuning of conversations, prompts with completions, or texts.',
    example: 'swift-tuners sft --model MODEL --dataset rows.jsonl --num_train_epochs 3',
    options: SFT, load: async () => (await import('./sft.js')).sft,
  }),
  pt: command({
    summary: 'The same on plain text, all of which counts; --tuner_type full trains all weights.',
    example: 'swift-tuners pt --model MODEL --dataset texts.txt --packing --max_length 2048',
    options: SFT, load: async () => (await import('./sft.js')).pt,
  }),
  rlhf: command({
    summary: 'Training on preferences (dpo, orpo, simpo, cpo, kto, rm) and rewards (grpo).',
    example: 'swift-tuners rlhf --rlhf_type dpo --model MODEL --dataset pairs.jsonl',
    options: RLHF, load: async () => (await import('./rlhf.js')).rlhf,
  }),
  infer: command({
    summary: 'A chat in the terminal, or answers to a dataset as JSON Lines.',
    example: 'swift-tuners infer --adapters output/MODEL/v0-…/checkpoint-100',
    options: INFER, load: async () => (await import('./infer.js')).infer,
  }),
  eval: command({
    summary: 'Loss, perplexity, token accuracy and exact match of a dataset, without and with the adapters.',
    example: 'swift-tuners eval --adapters output/MODEL/v0-…/checkpoint-100 --val_dataset test.jsonl',
    options: EVAL, load: async () => (await import('./eval.js')).evaluate,
  }),
  export: command({
    summary: 'Writes a model with its adapters merged, or an adapter for PEFT.',
    example: 'swift-tuners export --adapters output/MODEL/v0-…/checkpoint-100 --merge_lora',
    options: EXPORT, remembers: ['model', 'use_hf', 'model_revision'], load: async () => (await import('./export.js')).exported,
  }),
  inspect: command({
    summary: 'What a folder holds: tree, shapes, sizes, targets, tuner, and whether an adapter is sound.',
    example: 'swift-tuners inspect output/MODEL/v0-…/checkpoint-100',
    options: INSPECT, positional: 'folders', load: async () => (await import('./inspect.js')).inspect,
  }),
  data: command({
    summary: 'Rows as they will be trained: tokens by what the loss counts, lengths, dropped rows.',
    example: 'swift-tuners data --model MODEL --dataset rows.jsonl',
    options: SHOW, load: async () => (await import('./data.js')).data,
  }),
  plan: command({
    summary: 'Memory of a training run from config.json alone, in f32 on the CPU, and what would take less.',
    example: 'swift-tuners plan --model MODEL --max_length 2048 --per_device_train_batch_size 4',
    options: PLAN, load: async () => (await import('./plan.js')).plan,
  }),
}
