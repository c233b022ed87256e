import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { native, nativeAsync, SwiftTunersError } from './errors.js'
import { resolveModel } from './hub.js'
import { printed } from './inspect/printed.js'
import { LOAD, LOAD_HINTS, type LoadOptions } from './load-options.js'
import { loadTokenizer, NativeDecodeStream, NativeTokenizer } from './native/binding.js'
import { boolean, checkArgument, checkHandle, checkOptions, integer, isObject, list, oneOf, type OptionTable, string, where } from './options.js'
import { printable } from './text.js'

interface SpecialToken {
  content: string
}

/** A compiled chat template. */
interface ChatTemplate {
  render(values: Record<string, unknown>): string
}

/** What is put around a text. */
export interface EncodeOptions {
  /** Begin and end tokens, where the tokenizer has them. Default true. */
  addSpecialTokens?: boolean
}

/** How texts become equally long. */
export interface EncodeBatchOptions {
  /** Fills texts up to the longest. Default true. */
  padding?: boolean
  /** The most tokens of a text, the special ones counted. */
  truncation?: number
  /** Default: the tokenizer's own. `generate()` needs 'left'. */
  paddingSide?: 'left' | 'right'
}

/** What of the ids becomes text. */
export interface DecodeOptions {
  /** Leaves special tokens out. Default true. */
  skipSpecialTokens?: boolean
}

/** How a conversation ends. */
export interface ChatTemplateOptions {
  /** Ends with what the assistant's answer begins with. Default false. */
  addGenerationPrompt?: boolean
}

const ENCODE: OptionTable<EncodeOptions> = { addSpecialTokens: boolean }
const ENCODE_BATCH: OptionTable<EncodeBatchOptions> = { padding: boolean, truncation: integer({ min: 0, max: 2 ** 32 - 1 }), paddingSide: oneOf('left', 'right') }
const DECODE: OptionTable<DecodeOptions> = { skipSpecialTokens: boolean }
const CHAT: OptionTable<ChatTemplateOptions> = { addGenerationPrompt: boolean }

const tokenIds = { ...list(integer({ min: 0, max: 2 ** 32 - 1 })), expected: 'token ids' }
const CHAT_MESSAGES = where('a list of { role, content }, both texts', v => Array.isArray(v) && Array.from(v).every(m =>
  isObject(m) && typeof (m as ChatMessage).role === 'string' && ['string', 'undefined'].includes(typeof ((m as ChatMessage).content ?? undefined))))

/** One turn of a conversation. */
export interface ChatMessage {
  /** Such as 'system', 'user' or 'assistant'. */
  role: string
  /** What was said. */
  content: string
}

/** Token ids that come one by one, as text. */
export class DecodeStream {
  readonly #native: NativeDecodeStream

  /** @internal */
  constructor(handle: NativeDecodeStream) {
    checkHandle('DecodeStream', handle, NativeDecodeStream, 'a tokenizer\'s decodeStream() makes one')
    this.#native = handle
  }

  /** The text that one id, or several, complete: characters of several tokens wait for the last of them. */
  push(ids: number | number[]): string {
    const all = [ids].flat()
    checkArgument('push', 'ids', all, tokenIds)
    return native(() => this.#native.push(all))
  }

  /** What has waited in vain. What was pushed and this together are what `decode` makes of all ids. */
  end(): string {
    return native(() => this.#native.end())
  }
}

/** tokenizer.json and tokenizer_config.json of a model directory or hub id. */
export class AutoTokenizer {
  readonly #native: NativeTokenizer
  readonly #template: ChatTemplate | undefined
  readonly #special: Record<string, string>
  /** Which side `encodeBatch` pads. */
  readonly paddingSide: 'left' | 'right'

  private constructor(handle: NativeTokenizer, config: Record<string, unknown>, template: ChatTemplate | undefined) {
    checkHandle('AutoTokenizer', handle, NativeTokenizer, 'AutoTokenizer.fromPretrained loads one')
    this.#native = handle
    this.#template = template
    this.paddingSide = config.padding_side === 'left' ? 'left' : 'right'
    this.#special = {}
    for (const name of ['bos_token', 'eos_token', 'pad_token', 'unk_token', 'sep_token', 'cls_token', 'mask_token']) {
      const value = config[name] as string | SpecialToken | null | undefined
      const text = typeof value === 'string' ? value : value?.content
      if (typeof text === 'string') this.#special[name] = text
    }
  }

  /** Loads the tokenizer of a local folder or of a hub; of the options those of hubs count. */
  static async fromPretrained(directoryOrId: string, options: LoadOptions = {}): Promise<AutoTokenizer> {
    const { signal, ...rest } = checkOptions('AutoTokenizer.fromPretrained', options, LOAD, LOAD_HINTS)
    const directory = await resolveModel('AutoTokenizer.fromPretrained', directoryOrId, { signal, ...rest })
    signal?.throwIfAborted()
    const handle = await nativeAsync(() => loadTokenizer(join(directory, 'tokenizer.json')))
    const config = readJson(join(directory, 'tokenizer_config.json'))
    const file = join(directory, 'chat_template.jinja')
    const named = config.chat_template
    const template = existsSync(file)
      ? readFileSync(file, 'utf8')
      : Array.isArray(named)
        ? (named as { name: string; template: string }[]).find(t => t.name === 'default')?.template
        : typeof named === 'string' ? named : undefined
    return new AutoTokenizer(handle, config, template === undefined ? undefined : await compile(template, directory))
  }

  /** How many tokens there are, the added ones counted. */
  get vocabSize(): number {
    return native(() => this.#native.vocabSize)
  }
  /** The id of a token's text, if it is one. */
  tokenToId(token: string): number | undefined {
    checkArgument('tokenToId', 'token', token, string)
    return native(() => this.#native.tokenToId(token)) ?? undefined
  }
  /** The id of the token that ends a text, if there is one. */
  get eosTokenId(): number | undefined {
    return this.#id('eos_token')
  }
  /** The id of the token that begins a text, if there is one. */
  get bosTokenId(): number | undefined {
    return this.#id('bos_token')
  }
  /** The id of the token that fills up, if there is one. */
  get padTokenId(): number | undefined {
    return this.#id('pad_token')
  }

  #id(name: string): number | undefined {
    const text = this.#special[name]
    return text === undefined ? undefined : this.tokenToId(text)
  }

  /** Token ids of a text. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    checkArgument('encode', 'text', text, string)
    const { addSpecialTokens = true } = checkOptions('encode', options, ENCODE)
    return native(() => this.#native.encode(text, addSpecialTokens))
  }

  /** Encodes several texts; `padding` fills them up to the longest, on `paddingSide`. */
  encodeBatch(texts: string[], options: EncodeBatchOptions = {}): { inputIds: number[][]; attentionMask: number[][] } {
    checkArgument('encodeBatch', 'texts', texts, { ...list(string), expected: 'a list of strings' })
    const { padding = true, truncation, paddingSide = this.paddingSide } = checkOptions('encodeBatch', options, ENCODE_BATCH)
    const rows = truncation === undefined
      ? native(() => this.#native.encodeBatch(texts, true))
      : native(() => texts.map(t => this.#native.encodeTruncated(t, truncation)))
    const longest = Math.max(0, ...rows.map(r => r.length))
    if (!padding) return { inputIds: rows, attentionMask: rows.map(r => r.map(() => 1)) }
    const pad = this.padTokenId ?? this.eosTokenId ?? 0
    const fill = <T>(row: T[], value: T) => {
      const rest = Array<T>(longest - row.length).fill(value)
      return paddingSide === 'left' ? [...rest, ...row] : [...row, ...rest]
    }
    return { inputIds: rows.map(r => fill(r, pad)), attentionMask: rows.map(r => fill(r.map(() => 1), 0)) }
  }

  /** Text of ids; those that the tokenizer does not have (models often have some to spare) are nothing. */
  decode(ids: number[], options: DecodeOptions = {}): string {
    const { skipSpecialTokens = true } = checkOptions('decode', options, DECODE)
    const given = ArrayBuffer.isView(ids) ? Array.from(ids as Iterable<number>, Number) : ids
    checkArgument('decode', 'ids', given, tokenIds)
    return native(() => this.#native.decode(given, skipSpecialTokens))
  }

  /** Makes text of ids as they come. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    const { skipSpecialTokens = true } = checkOptions('decodeStream', options, DECODE)
    return new DecodeStream(native(() => new NativeDecodeStream(this.#native, skipSpecialTokens)))
  }

  /** The conversation as the model's chat template lays it out. */
  applyChatTemplate(messages: ChatMessage[], options: ChatTemplateOptions = {}): string {
    checkArgument('applyChatTemplate', 'messages', messages, CHAT_MESSAGES)
    const { addGenerationPrompt = false } = checkOptions('applyChatTemplate', options, CHAT)
    if (this.#template === undefined) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', 'tokenizer_config.json: this tokenizer has no chat_template')
    }
    try {
      return this.#template.render({ messages, add_generation_prompt: addGenerationPrompt, ...this.#special })
    } catch (error) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `chat_template: ${printable(String((error as Error)?.message ?? error))}`, { cause: error })
    }
  }
}

printed(AutoTokenizer as { prototype: AutoTokenizer }, t => `AutoTokenizer(${t.vocabSize} tokens, padding on the ${t.paddingSide})`)

async function compile(template: string, directory: string): Promise<ChatTemplate> {
  const { Template } = await import('@huggingface/jinja')
  try {
    return new Template(template)
  } catch (error) {
    throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${directory}: chat_template: ${printable(String((error as Error)?.message ?? error))}`, { cause: error })
  }
}

function readJson(path: string): Record<string, unknown> {
  if (!existsSync(path)) return {}
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${path}: ${printable(String((error as Error).message))}`, { cause: error })
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${path}: expected an object`)
  return value as Record<string, unknown>
}
