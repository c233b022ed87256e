import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { withSignal } from './abort.js'
import { CHAT_MESSAGES, type ChatMessage } from './chat/messages.js'
import {
  chat, CHAT, type ChatTemplateOptions, clock, ENCODE_CHATS, type EncodeChatsOptions, templateCall, type TemplateVariables, variablesJson,
} from './chat/options.js'
import { ChatTemplates } from './chat/templates.js'
import { native, nativeAsync, SwiftTunersError } from './errors.js'
import { resolveModel } from './hub.js'
import { printed } from './inspect/printed.js'
import { LOAD, LOAD_HINTS, type LoadOptions } from './load-options.js'
import { loadTokenizer, NativeDecodeStream, type NativeEncodedChat, NativeTokenizer, readText } from './native/binding.js'
import { boolean, checkArgument, checkHandle, checkOptions, integer, isObject, list, oneOf, type OptionTable, signal, string } from './options.js'
import { filler } from './padding.js'
import { printable } from './text.js'

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

/** How many texts are encoded. */
export interface EncodeManyOptions extends EncodeOptions {
  /** Stops the work; the promise rejects with its reason. */
  signal?: AbortSignal
}

/** The tokens of one message of the assistant: from `start` up to `end`, which is not among them. */
export interface ChatTurn {
  /** Index of the message. */
  message: number
  /** Index of the first token. */
  start: number
  /** Index behind the last token. */
  end: number
}

/** A conversation as ids. */
export interface EncodedChat {
  /** The ids, without tokens that the tokenizer would add: the template writes them. */
  inputIds: number[]
  /** What the assistant said. */
  turns: ChatTurn[]
  /** Messages of the assistant whose tokens cannot be told: the template lays them out otherwise once others follow. */
  skipped: number[]
}

const ENCODE: OptionTable<EncodeOptions> = { addSpecialTokens: boolean }
const ENCODE_BATCH: OptionTable<EncodeBatchOptions> = { padding: boolean, truncation: integer({ min: 0, max: 2 ** 32 - 1 }), paddingSide: oneOf('left', 'right') }
const DECODE: OptionTable<DecodeOptions> = { skipSpecialTokens: boolean }
const ENCODE_MANY: OptionTable<EncodeManyOptions> = { ...ENCODE, signal }
const CONFIG_BYTES = 16 * 2 ** 20

const tokenIds = { ...list(integer({ min: 0, max: 2 ** 32 - 1 })), expected: 'token ids' }
const strings = { ...list(string), expected: 'a list of strings' }

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
  readonly #templates: ChatTemplates
  readonly #special: Record<string, string>
  /** Which side `encodeBatch` pads. */
  readonly paddingSide: 'left' | 'right'
  /** A name for all that its files hold: two with the same give the same ids. */
  readonly fingerprint: string

  private constructor(handle: NativeTokenizer, config: Record<string, unknown>, templates: ChatTemplates, fingerprint: string) {
    checkHandle('AutoTokenizer', handle, NativeTokenizer, 'AutoTokenizer.fromPretrained loads one')
    this.#native = handle
    this.#templates = templates
    this.paddingSide = config.padding_side === 'left' ? 'left' : 'right'
    this.#special = specialTokens(config)
    this.fingerprint = fingerprint
  }

  /** Loads the tokenizer of a local folder or of a hub; of the options those of hubs count. */
  static async fromPretrained(directoryOrId: string, options: LoadOptions = {}): Promise<AutoTokenizer> {
    const { signal, ...rest } = checkOptions('AutoTokenizer.fromPretrained', options, LOAD, LOAD_HINTS)
    const directory = await resolveModel('AutoTokenizer.fromPretrained', directoryOrId, { signal, ...rest })
    signal?.throwIfAborted()
    const file = join(directory, 'tokenizer.json')
    const handle = await nativeAsync(() => loadTokenizer(file))
    const config = { ...readJson(join(directory, 'special_tokens_map.json')), ...readJson(join(directory, 'tokenizer_config.json')) }
    const templates = ChatTemplates.of(directory, config)
    templates.check()
    const fingerprint = createHash('sha256').update(await readFile(file)).update(JSON.stringify(config)).update(templates.text).digest('hex')
    return new AutoTokenizer(handle, config, templates, fingerprint)
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
    checkArgument('encodeBatch', 'texts', texts, strings)
    const { padding = true, truncation, paddingSide = this.paddingSide } = checkOptions('encodeBatch', options, ENCODE_BATCH)
    const rows = truncation === undefined
      ? native(() => this.#native.encodeBatch(texts, true))
      : native(() => texts.map(t => this.#native.encodeTruncated(t, truncation)))
    const longest = Math.max(0, ...rows.map(r => r.length))
    if (!padding) return { inputIds: rows, attentionMask: rows.map(r => r.map(() => 1)) }
    const pad = this.padTokenId ?? this.eosTokenId ?? 0
    const fill = filler(longest, paddingSide)
    return { inputIds: rows.map(r => fill(r, pad)), attentionMask: rows.map(r => fill(r.map(() => 1), 0)) }
  }

  /** Token ids of many texts, in their order, off the event loop. */
  async encodeMany(texts: readonly string[], options: EncodeManyOptions = {}): Promise<number[][]> {
    checkArgument('encodeMany', 'texts', texts, strings)
    const { addSpecialTokens = true, signal } = checkOptions('encodeMany', options, ENCODE_MANY)
    return withSignal(signal, flag => this.#native.encodeMany([...texts], addSpecialTokens, flag))
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

  /**
   * The conversation as the model's chat template lays it out, as transformers does. Variables of the template that are no options, such as
   * `date_string`, may stand beside them.
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions & TemplateVariables = {}): string {
    const call = templateCall<ChatTemplateOptions>('applyChatTemplate', options, CHAT, (...of) => this.#templates.find('applyChatTemplate', ...of))
    checkArgument('applyChatTemplate', 'messages', messages, CHAT_MESSAGES)
    return native(() => call.template.render(chat('applyChatTemplate', messages, this.#special, call.options, call.variables)))
  }

  /**
   * The conversation as ids, and which of them the assistant said: what the template's `{% generation %}` blocks hold, or, without any,
   * what a message adds to the conversation before it where later ones leave it as it is. A message that is to be continued has no turns.
   */
  encodeChat(messages: readonly ChatMessage[], options: ChatTemplateOptions & TemplateVariables = {}): EncodedChat {
    const call = templateCall<ChatTemplateOptions>('encodeChat', options, CHAT, (...of) => this.#templates.find('encodeChat', ...of))
    checkArgument('encodeChat', 'messages', messages, CHAT_MESSAGES)
    return encoded(native(() => call.template.encode(this.#native, chat('encodeChat', messages, this.#special, call.options, call.variables))))
  }

  /**
   * `encodeChat` of many conversations, off the event loop and in parallel. A row is the JSON text of
   * `{ messages, tools?, documents?, chat_template_kwargs? }`; its own variables win over the call's.
   */
  async encodeChats(rows: readonly string[], options: EncodeChatsOptions & TemplateVariables = {}): Promise<EncodedChat[]> {
    const { options: { chatTemplate, now, addGenerationPrompt = false, signal }, template, variables } = templateCall<EncodeChatsOptions>(
      'encodeChats', options, ENCODE_CHATS, name => this.#templates.find('encodeChats', name, false))
    checkArgument('encodeChats', 'rows', rows, { ...strings, expected: 'a list of JSON texts' })
    const withTools = chatTemplate === undefined ? this.#templates.withTools : undefined
    const { epoch, offset } = clock(now)
    const json = variablesJson('encodeChats', { ...this.#special, ...variables })
    const all = await withSignal(signal, flag => template.encodeRows(this.#native, withTools, [...rows], json, epoch, offset, addGenerationPrompt, flag))
    return all.map(encoded)
  }
}

printed(AutoTokenizer as { prototype: AutoTokenizer }, t => `AutoTokenizer(${t.vocabSize} tokens, padding on the ${t.paddingSide})`)

function encoded({ ids, turns, skipped }: NativeEncodedChat): EncodedChat {
  const each = Array.from({ length: turns.length / 3 }, (_, i) => ({ message: turns[3 * i], start: turns[3 * i + 1], end: turns[3 * i + 2] }))
  return { inputIds: ids, turns: each, skipped }
}

/** Texts of the special tokens, by the names that templates have for them. */
function specialTokens(config: Record<string, unknown>): Record<string, string> {
  const special: Record<string, string> = {}
  for (const [name, value] of Object.entries(config)) {
    const text = isObject(value) ? (value as { content?: unknown }).content : value
    if (name.endsWith('_token') && typeof text === 'string') special[name] = text
  }
  return special
}

function readJson(path: string): Record<string, unknown> {
  const text = native(() => readText(path, CONFIG_BYTES))
  if (typeof text !== 'string') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${path}: ${printable(String((error as Error).message))}`, { cause: error })
  }
  if (!isObject(value)) throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${path}: expected an object`)
  return value as Record<string, unknown>
}
