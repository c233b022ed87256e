import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LoadOptions } from './auto-model.js'
import { native, nativeAsync, SwiftTunersError } from './errors.js'
import { resolveModel } from './hub.js'
import { loadTokenizer, NativeDecodeStream, type NativeTokenizer } from './native/binding.js'
import { boolean, checkOptions, integer, oneOf, type OptionTable, shown } from './options.js'
import { printable } from './text.js'

interface SpecialToken {
  content: string
}

/** A compiled chat template. */
interface ChatTemplate {
  render(values: Record<string, unknown>): string
}

export interface EncodeOptions {
  /** Begin and end tokens, where the tokenizer has them. Default true. */
  addSpecialTokens?: boolean
}

export interface EncodeBatchOptions {
  /** Fills texts up to the longest. Default true. */
  padding?: boolean
  /** The most tokens of a text, the special ones counted. */
  truncation?: number
  /** Default: the tokenizer's own. `generate()` needs 'left'. */
  paddingSide?: 'left' | 'right'
}

export interface DecodeOptions {
  /** Leaves special tokens out. Default true. */
  skipSpecialTokens?: boolean
}

export interface ChatTemplateOptions {
  /** Ends with what the assistant's answer begins with. Default false. */
  addGenerationPrompt?: boolean
}

const ENCODE: OptionTable<EncodeOptions> = { addSpecialTokens: boolean }
const ENCODE_BATCH: OptionTable<EncodeBatchOptions> = { padding: boolean, truncation: integer({ min: 0, max: 2 ** 32 - 1 }), paddingSide: oneOf('left', 'right') }
const DECODE: OptionTable<DecodeOptions> = { skipSpecialTokens: boolean }
const CHAT: OptionTable<ChatTemplateOptions> = { addGenerationPrompt: boolean }

function string(value: unknown, name = 'text'): string {
  if (typeof value === 'string') return value
  throw new SwiftTunersError('ERR_INVALID_CONFIG', `${name}: expected a string, found ${shown(value)}`)
}

function tokenId(value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32) return value as number
  throw new SwiftTunersError('ERR_INVALID_CONFIG', `ids: expected token ids, found ${shown(value)}`)
}

/** Token ids that come one by one, as text. */
export class DecodeStream {
  readonly #native: NativeDecodeStream

  /** @internal */
  constructor(handle: NativeDecodeStream) {
    this.#native = handle
  }

  /** The text that one id, or several, complete: characters of several tokens wait for the last of them. */
  push(ids: number | number[]): string {
    const all = (Array.isArray(ids) ? ids : [ids]).map(tokenId)
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

  static async fromPretrained(directoryOrId: string, options: LoadOptions = {}): Promise<AutoTokenizer> {
    const directory = await resolveModel(directoryOrId, options)
    options.signal?.throwIfAborted()
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

  get vocabSize(): number {
    return native(() => this.#native.vocabSize)
  }
  /** The id of a token's text, if it is one. */
  tokenToId(token: string): number | undefined {
    return native(() => this.#native.tokenToId(token)) ?? undefined
  }
  get eosTokenId(): number | undefined {
    return this.#id('eos_token')
  }
  get bosTokenId(): number | undefined {
    return this.#id('bos_token')
  }
  get padTokenId(): number | undefined {
    return this.#id('pad_token')
  }

  #id(name: string): number | undefined {
    const text = this.#special[name]
    return text === undefined ? undefined : this.tokenToId(text)
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    checkOptions('encode', options, ENCODE)
    const given = string(text)
    return native(() => this.#native.encode(given, options.addSpecialTokens ?? true))
  }

  /** Encodes several texts; `padding` fills them up to the longest, on `paddingSide`. */
  encodeBatch(texts: string[], options: EncodeBatchOptions = {}): { inputIds: number[][]; attentionMask: number[][] } {
    checkOptions('encodeBatch', options, ENCODE_BATCH)
    if (!Array.isArray(texts)) throw new SwiftTunersError('ERR_INVALID_CONFIG', `texts: expected a list of strings, found ${shown(texts)}`)
    const given = texts.map((t, i) => string(t, `texts[${i}]`))
    const padding = options.padding ?? true, truncation = options.truncation ?? undefined, paddingSide = options.paddingSide ?? this.paddingSide
    const rows = truncation === undefined
      ? native(() => this.#native.encodeBatch(given, true))
      : native(() => given.map(t => this.#native.encodeTruncated(t, truncation)))
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
    checkOptions('decode', options, DECODE)
    const given = Array.from(ids, tokenId)
    return native(() => this.#native.decode(given, options.skipSpecialTokens ?? true))
  }

  /** Makes text of ids as they come. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    checkOptions('decodeStream', options, DECODE)
    return new DecodeStream(native(() => new NativeDecodeStream(this.#native, options.skipSpecialTokens ?? true)))
  }

  /** The conversation as the model's chat template lays it out. */
  applyChatTemplate(messages: { role: string; content: string }[], options: ChatTemplateOptions = {}): string {
    checkOptions('applyChatTemplate', options, CHAT)
    if (this.#template === undefined) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', 'tokenizer_config.json: this tokenizer has no chat_template')
    }
    try {
      return this.#template.render({ messages, add_generation_prompt: options.addGenerationPrompt ?? false, ...this.#special })
    } catch (error) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `chat_template: ${printable(String((error as Error)?.message ?? error))}`, { cause: error })
    }
  }
}

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
