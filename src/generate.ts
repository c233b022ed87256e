import { native, nativeAsync } from './errors.js'
import { type ModelInputs, nativeInputs } from './inputs.js'
import { NativeCancelFlag, type NativeGenerateOptions, type NativeGeneration, type NativeInputs, type NativeStep } from './native/binding.js'
import { checkOptions, either, instance, integer, invalid, list, number, oneOf, type OptionTable, signal, where } from './options.js'
import { RowTexts } from './row-texts.js'
import { AutoTokenizer } from './tokenizer.js'

/** How tokens are chosen, and when it ends. */
export interface GenerateOptions {
  /** New tokens of each row. Default 64, or what the model's context has room for. */
  maxNewTokens?: number
  /**
   * What happens when prompt and new tokens are more than the model's context (its config's `max_position_embeddings`, scaled as its
   * rotary positions are): `'error'` (default) refuses before anything is computed, `'stop'` ends where the context does, `'truncate'`
   * takes the prompt's first tokens away. T5 has no limit.
   */
  contextOverflow?: 'error' | 'stop' | 'truncate'
  /** 0 (default) is greedy; what follows is applied in this order, as transformers applies it. */
  temperature?: number
  /** Only so many of the most likely tokens; 0 is all. */
  topK?: number
  /** Only the most likely tokens that together have this probability, above 0 and up to 1. */
  topP?: number
  /** Only tokens with this share of the most likely one's probability, from 0 to 1. */
  minP?: number
  /** Of what is drawn. The same seed gives the same tokens for the same batch. Default 0. */
  seed?: number
  /** Above 1: tokens of prompt and text count less; divides their logits, or multiplies negative ones. Default 1. Keskar et al. 2019 (arXiv 1909.05858). */
  repetitionPenalty?: number
  /** From -2 to 2, taken from the logits of tokens that are in the text so far. Default 0. OpenAI's. */
  presencePenalty?: number
  /** From -2 to 2, taken for each time that a token is in the text so far. Default 0. OpenAI's. */
  frequencyPenalty?: number
  /** Ends a row. Default: the model's own; `[]` is none. */
  eosTokenId?: number | number[]
  /** What rows that have ended are filled with. Default: the model's own, or else the first end token. */
  padTokenId?: number
  /** Ends a row when its text has one of these, with the token that completes it. Needs `tokenizer`. */
  stopStrings?: string | string[]
  /** Makes text of ids, for `stopStrings` and for `texts` of `generateSteps()`. */
  tokenizer?: AutoTokenizer
  /** Ends it: the iterator fails with the signal's reason. */
  signal?: AbortSignal
}

/** The same, and what is told of each step. */
export interface GenerateStepsOptions extends GenerateOptions {
  /** Tells the log-probability of each token, and so many of the most likely ones, from 0 to 20. */
  logprobs?: number
}

/** Why a row has ended: with an end token, with a stop string, or for lack of room. */
export type FinishReason = 'eos' | 'stop' | 'length'

/**
 * A token and the logarithm of the probability that the model gave it: its own distribution, before penalties, temperature and all else.
 */
export interface TokenLogprob {
  /** The token. */
  tokenId: number
  /** From minus infinity to 0. */
  logprob: number
}

/** One step of a decoding; everything has one place per row. */
export interface GenerationStep {
  /** Rows that had ended before have the pad id. */
  tokenIds: number[]
  /** Null while a row goes on. */
  finishReasons: (FinishReason | null)[]
  /**
   * With a tokenizer: what each row's text has grown by. Characters that are not whole yet, and what may become a stop string, wait for
   * the next step; end tokens and stop strings are left out.
   */
  texts?: string[]
  /** With `logprobs`: the chosen token and the most likely ones, the most likely first. Null for rows that had ended before. */
  logprobs?: (TokenLogprob & { top: TokenLogprob[] } | null)[]
}

const strings = where('a string or a list of strings, none of them empty', v => {
  const all = Array.isArray(v) ? v : [v]
  return all.length > 0 && all.every(s => typeof s === 'string' && s !== '')
})
const id = integer({ min: 0, max: 2 ** 32 - 1 })

const STEPS: OptionTable<GenerateStepsOptions> = {
  maxNewTokens: integer({ min: 1 }),
  contextOverflow: oneOf('error', 'stop', 'truncate'),
  temperature: number({ min: 0 }),
  topK: integer({ min: 0 }),
  topP: number({ above: 0, max: 1 }),
  minP: number({ min: 0, max: 1 }),
  seed: integer({ min: 0 }),
  repetitionPenalty: number({ above: 0 }),
  presencePenalty: number({ min: -2, max: 2 }),
  frequencyPenalty: number({ min: -2, max: 2 }),
  eosTokenId: either(id, list(id)),
  padTokenId: id,
  stopStrings: strings,
  tokenizer: instance(AutoTokenizer, 'an AutoTokenizer'),
  signal,
  logprobs: integer({ min: 0, max: 20 }),
}
const { logprobs: _, ...TOKENS } = STEPS

/** Names of other libraries. */
const HINTS: Record<string, string> = {
  doSample: 'a temperature above 0 samples, and 0 (the default) is greedy',
  stop: 'stop strings are stopStrings, with a tokenizer',
  stopSequences: 'stop strings are stopStrings, with a tokenizer',
  maxLength: 'maxNewTokens counts the new tokens alone',
  logprobs: 'log-probabilities are told by generateSteps()',
  topLogprobs: 'log-probabilities are told by generateSteps({ logprobs })',
  numBeams: 'beams are not supported',
  numReturnSequences: 'give the prompt as several rows',
}

type Start = (inputs: NativeInputs, settings: NativeGenerateOptions, flag: NativeCancelFlag) => NativeGeneration

/** What a model gives to decoding. */
interface Source {
  inputs: ModelInputs
  config: Record<string, unknown>
  start: Start
}

/** @internal Token ids, one per row, step by step; what the options leave open is as the model's `config` has it. */
export async function* decode(source: Source, options: GenerateOptions): AsyncIterableIterator<number[]> {
  checkOptions('generate', options, TOKENS, HINTS)
  for await (const step of steps('generate', source, options)) yield step.tokenIds
}

/** @internal The same with all that is known of each step. */
export async function* decodeSteps(source: Source, options: GenerateStepsOptions): AsyncIterableIterator<GenerationStep> {
  checkOptions('generateSteps', options, STEPS, HINTS)
  yield* steps('generateSteps', source, options)
}

async function* steps(call: string, { inputs, config, start }: Source, options: GenerateStepsOptions): AsyncIterableIterator<GenerationStep> {
  const settings = nativeOptions(call, options, config)
  const stops = [options.stopStrings ?? []].flat()
  if (stops.length > 0 && !options.tokenizer) throw invalid('tokenizer', `${call}: stopStrings: needs a tokenizer, which makes text of ids`)
  options.signal?.throwIfAborted()
  const flag = new NativeCancelFlag()
  const raise = () => flag.cancel()
  options.signal?.addEventListener('abort', raise, { once: true })
  try {
    const generation = native(() => start(nativeInputs(inputs), settings, flag))
    const texts = options.tokenizer && new RowTexts(options.tokenizer, stops)
    for (;;) {
      const found = await nativeAsync(() => generation.next())
      options.signal?.throwIfAborted()
      if (found === null) return
      const step = made(found, options.logprobs !== undefined && options.logprobs !== null)
      if (texts) {
        const { grown, stopped } = texts.push(step)
        step.texts = grown
        for (const row of stopped) step.finishReasons[row] = 'stop'
        if (stopped.length > 0) generation.finish(stopped)
      }
      yield step
    }
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason
    throw error
  } finally {
    options.signal?.removeEventListener('abort', raise)
  }
}

const REASONS: Record<string, FinishReason> = { eos: 'eos', stopped: 'stop', length: 'length' }

function made(found: NativeStep, logprobs: boolean): GenerationStep {
  const step: GenerationStep = { tokenIds: found.tokenIds, finishReasons: found.finished.map(reason => (reason == null ? null : REASONS[reason])) }
  if (logprobs) step.logprobs = found.logprobs.map(([chosen, ...top]) => (chosen ? { ...chosen, top } : null))
  return step
}

function nativeOptions(call: string, options: GenerateStepsOptions, config: Record<string, unknown>): NativeGenerateOptions {
  const temperature = options.temperature ?? 0
  for (const name of ['topK', 'topP', 'minP'] as const) {
    if (temperature === 0 && options[name] != null) throw invalid(name, `${call}: ${name}: needs a temperature above 0, since 0 takes the most likely token`)
  }
  const numbers = (value: unknown) => [value ?? []].flat().filter(t => typeof t === 'number')
  const vocabulary = typeof config.vocab_size === 'number' ? config.vocab_size : Infinity
  for (const name of ['eosTokenId', 'padTokenId'] as const) {
    const beyond = numbers(options[name]).find(t => t >= vocabulary)
    if (beyond !== undefined) throw invalid(name, `${call}: ${name}: ${beyond} is none of the model's ${vocabulary} tokens`)
  }
  const eosTokenIds = numbers(options.eosTokenId ?? config.eos_token_id)
  const pad = options.padTokenId ?? config.pad_token_id
  return {
    maxNewTokens: options.maxNewTokens ?? undefined,
    contextOverflow: options.contextOverflow ?? 'error',
    temperature,
    topK: options.topK ?? undefined,
    topP: options.topP ?? undefined,
    minP: options.minP ?? undefined,
    repetitionPenalty: options.repetitionPenalty ?? 1,
    presencePenalty: options.presencePenalty ?? 0,
    frequencyPenalty: options.frequencyPenalty ?? 0,
    logprobs: options.logprobs ?? undefined,
    seed: options.seed ?? 0,
    eosTokenIds,
    padTokenId: typeof pad === 'number' && pad >= 0 ? pad : (eosTokenIds[0] ?? 0),
  }
}
