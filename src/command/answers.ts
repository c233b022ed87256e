/** Answers to rows and to conversations. */
import { type AutoTokenizer, type ChatMessage, type GenerateStepsOptions, type Message, type Model, SwiftTunersError } from '../../index.js'
import type { ValuesOf } from './argument.js'
import { generationConfig, type Loaded } from './load.js'
import type { GENERATION, TEMPLATE } from './options/model.js'
import { contextOf, encoding } from './rows.js'

/** What is answered: token ids, and what the row has for an answer. */
export interface Question {
  ids: number[]
  /** The row's own answer. */
  label?: string
  messages: Message[]
}

type Args = ValuesOf<typeof GENERATION> & ValuesOf<typeof TEMPLATE>

/** How answers are drawn: as the options say, else as the model's generation_config.json. */
export function generation(args: Args, { folder, tokenizer, model }: Loaded): GenerateStepsOptions {
  const saved = generationConfig(folder)
  const number = (name: string) => (typeof saved[name] === 'number' ? saved[name] : undefined)
  const temperature = args.temperature ?? (saved.do_sample === true ? number('temperature') ?? 1 : 0)
  const drawn = temperature > 0 ? { topK: args.top_k ?? number('top_k'), topP: args.top_p ?? number('top_p'), minP: args.min_p ?? number('min_p') } : {}
  const ends = [saved.eos_token_id ?? model.config.eos_token_id ?? tokenizer.eosTokenId ?? []].flat().filter(id => typeof id === 'number')
  const chat = tokenizer.eosTokenId
  return {
    ...drawn, temperature, tokenizer, seed: args.seed, contextOverflow: 'stop',
    maxNewTokens: args.max_new_tokens ?? Math.min(2048, contextOf(model.config) ?? 2048),
    eosTokenId: [...new Set(chat === undefined ? ends : [...ends, chat])],
    ...(tokenizer.padTokenId === undefined ? {} : { padTokenId: tokenizer.padTokenId }),
    ...((args.repetition_penalty ?? number('repetition_penalty')) === undefined ? {} : { repetitionPenalty: args.repetition_penalty ?? number('repetition_penalty')! }),
    ...(args.stop_words.length > 0 ? { stopStrings: args.stop_words } : {}),
  }
}

/** A conversation as token ids, up to where the answer begins. */
export function conversation(tokenizer: AutoTokenizer, messages: Message[], args: Args, tools?: unknown[] | null): number[] {
  const { chatTemplate, templateKwargs } = encoding(args, undefined)
  const options = { addGenerationPrompt: true, ...(chatTemplate === undefined ? {} : { chatTemplate }), ...(templateKwargs === undefined ? {} : { templateKwargs }), ...(tools ? { tools } : {}) }
  return tokenizer.encode(tokenizer.applyChatTemplate(messages as ChatMessage[], options), { addSpecialTokens: false })
}

/** What of a row is asked. Fails with ERR_DATASET where there is nothing to answer. */
export function question(tokenizer: AutoTokenizer, row: object, args: Args): Question {
  const { messages, prompt, completion, tools } = row as { messages?: Message[]; prompt?: unknown; completion?: unknown; tools?: unknown[] | string | null }
  if (Array.isArray(messages)) {
    const last = messages.at(-1)
    const asked = last?.role === 'assistant' ? messages.slice(0, -1) : messages
    return { ids: conversation(tokenizer, asked, args, typeof tools === 'string' ? JSON.parse(tools) as unknown[] : tools), messages: asked, ...(last?.role === 'assistant' && typeof last.content === 'string' ? { label: last.content } : {}) }
  }
  if (typeof prompt === 'string') {
    return { ids: tokenizer.encode(prompt), messages: [{ role: 'user', content: prompt }], ...(typeof completion === 'string' ? { label: completion } : {}) }
  }
  throw new SwiftTunersError('ERR_DATASET', `a row has neither messages nor a prompt that could be answered (${Object.keys(row).slice(0, 6).join(', ')})`)
}

/** Answers to several questions at once, without what ends them. */
export async function answers(model: Model, questions: Question[], options: GenerateStepsOptions): Promise<string[]> {
  const longest = Math.max(...questions.map(({ ids }) => ids.length))
  const pad = options.padTokenId ?? [options.eosTokenId ?? 0].flat()[0] ?? 0
  const fill = ({ ids }: Question, value: number, of: (id: number) => number) => [...Array<number>(longest - ids.length).fill(value), ...ids.map(of)]
  const inputs = { inputIds: questions.map(q => fill(q, pad, id => id)), attentionMask: questions.map(q => fill(q, 0, () => 1)) }
  const texts = questions.map(() => '')
  for await (const step of model.generateSteps(inputs, options)) step.texts!.forEach((text, i) => { texts[i] += text })
  return texts
}
