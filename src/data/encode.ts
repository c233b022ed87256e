/** Rows as token ids, with what is trained of them. */
import { SwiftTunersError } from '../errors.js'
import { checkArgument, checkOptions, invalid, isObject, shown } from '../options.js'
import { printable } from '../text.js'
import { type Encoded, type EncodedClass, type EncodedPair, type EncodedUnpaired, IGNORE } from './encoded.js'
import { ENCODE_HINTS, ENCODE_ROW, type EncodeRowOptions } from './encode-options.js'
import { common, encodePair, encodeUnpaired, type Renderer } from './encode-pair.js'
import { jsonText, parseJson } from './json-source.js'
import { labelled, truncated } from './labels.js'
import { type ConversationIds, rowTokenizer, type RowTokenizer } from './row-tokenizer.js'
import type { ChatFields, ChatRow, ClassRow, Message, PairRow, PromptCompletionRow, Row, TextRow, TokenRow, UnpairedRow } from './rows.js'

/** What rows of a form become; rows of an unknown one count as rows with labels. */
export type EncodedOf<R> = [Row] extends [R] ? Encoded
  : R extends PairRow ? EncodedPair
    : R extends UnpairedRow ? EncodedUnpaired
      : R extends ClassRow ? EncodedClass
        : Encoded

/** What any row may become. */
export type AnyEncoded = Encoded | EncodedPair | EncodedUnpaired | EncodedClass

/**
 * A row as token ids: one, none where it was too long, or several where it was split. What it is shows in its fields.
 *
 * A conversation goes through the tokenizer's chat template (which writes begin and end tokens itself), and the assistant's turns are
 * trained. Texts and prompts with completions go without a template, with the tokenizer's special tokens and an end token; so does a
 * conversation that is one message of the assistant, which is SWIFT's form of a text. Of pairs, the prompt is what the ids of prompt and both whole
 * sequences begin with in common.
 *
 * Fails with ERR_INVALID_CONFIG where the template raises, the tokenizer has none, or the row has no known form.
 */
export function encodeRow<R extends Row>(tokenizer: RowTokenizer, row: R, options: EncodeRowOptions = {}): EncodedOf<R>[] {
  checkArgument('encodeRow', 'tokenizer', tokenizer, rowTokenizer)
  const encoder = new Encoder(tokenizer, checkOptions('encodeRow', options, ENCODE_ROW, ENCODE_HINTS))
  return encoder.encode(row) as EncodedOf<R>[]
}

/** What of a row a tokenizer can encode beside the event loop. */
export interface Wanted {
  /** A conversation, as JSON. */
  chat?: string
  /** Texts without a template. */
  texts: string[]
}

/** Encodes rows with the same tokenizer and options. */
export class Encoder implements Renderer {
  /** Turns that have no place of their own, of all rows so far. */
  skipped = 0
  readonly tokenizer: RowTokenizer
  readonly options: EncodeRowOptions
  /** Conversations that are encoded already. */
  readonly chats = new Map<Row, ConversationIds>()
  /** Texts that are. */
  readonly texts = new Map<string, number[]>()
  #end: string | undefined

  constructor(tokenizer: RowTokenizer, options: EncodeRowOptions) {
    this.tokenizer = tokenizer
    this.options = options
  }

  encode(row: Row): AnyEncoded[] {
    if (!isObject(row)) throw this.#noRow(row)
    const { label } = row as { label?: unknown }
    if ('input_ids' in row) return this.#cut(this.#tokens(row))
    if ('chosen' in row && 'rejected' in row) return encodePair(this, row)
    if ('messages' in row) {
      if (!isConversation(row)) throw this.#noRow(row)
      if (typeof label === 'boolean') return encodeUnpaired(this, row as UnpairedRow)
      if (typeof label === 'number') return this.#class(this.#chat(row).inputIds, label)
      return this.#cut(this.#conversation(row))
    }
    if ('prompt' in row && 'completion' in row && typeof row.prompt === 'string' && typeof row.completion === 'string') return this.#cut(this.#completion(row))
    if (!('text' in row) || typeof row.text !== 'string') throw this.#noRow(row)
    return typeof label === 'number' ? this.#class(this.#cutText(row.text), label) : this.#cut(this.#text(row))
  }

  /** What `encode` will ask of the tokenizer for a row; nothing of one that it will refuse. */
  wanted(row: Row): Wanted {
    if (!isObject(row)) return { texts: [] }
    if (isText(row)) return { texts: [this.ended(textOf(row))] }
    if ('messages' in row) {
      if (!isConversation(row) || typeof (row as { label?: unknown }).label === 'boolean') return { texts: [] }
      const { tools, chat_template_kwargs } = row
      return { chat: jsonText({ messages: row.messages.map(bare), tools: listed(tools), chat_template_kwargs }), texts: [] }
    }
    if ('prompt' in row && 'completion' in row && typeof row.prompt === 'string' && typeof row.completion === 'string') return { texts: [row.prompt, this.ended(row.prompt + row.completion)] }
    return { texts: [] }
  }

  /** Ids of a text without a template, special tokens included. */
  plain(text: string): number[] {
    return this.texts.get(text) ?? this.tokenizer.encode(text)
  }

  /** A text with the end token, unless it ends so. */
  ended(text: string): string {
    if (this.options.addEos === false) return text
    if (this.#end === undefined) {
      const { eosTokenId } = this.tokenizer
      if (eosTokenId === undefined) throw invalid('addEos', 'addEos: the tokenizer has no end token; give addEos: false')
      this.#end = this.tokenizer.decode([eosTokenId], { skipSpecialTokens: false })
    }
    return text.endsWith(this.#end) ? text : text + this.#end
  }

  /** Ids of a conversation as text. */
  rendered(messages: Message[], row: ChatFields, addGenerationPrompt: boolean): number[] {
    if (!this.tokenizer.applyChatTemplate) throw noTemplate()
    const text = this.tokenizer.applyChatTemplate(messages.map(bare), { ...this.#template(row), ...(addGenerationPrompt ? { addGenerationPrompt } : {}) })
    // The template writes special tokens itself.
    return this.tokenizer.encode(text, { addSpecialTokens: false })
  }

  #conversation(row: ChatRow): Encoded {
    if (isText(row)) {
      const [first] = row.messages
      const text = this.#text({ text: textOf(row) })
      const end = text.inputIds.length
      return first.loss === undefined && first.loss_scale === undefined ? text : labelled(text.inputIds, [{ message: 0, start: 0, end }], row.messages, 'all')
    }
    const { inputIds, turns } = this.#chat(row)
    return labelled(inputIds, turns, row.messages, this.options.loss ?? 'assistant')
  }

  #chat(row: ChatRow): ConversationIds {
    if (!this.tokenizer.encodeChat) throw noTemplate()
    const encoded = this.chats.get(row) ?? this.tokenizer.encodeChat(row.messages.map(bare), this.#template(row))
    this.skipped += encoded.skipped.length
    if (this.options.strict && encoded.skipped.length > 0) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `messages[${encoded.skipped[0]}]: the chat template lays it out differently once others follow, so it cannot be trained; use a template with {% generation %}`)
    }
    return encoded
  }

  #template({ tools, chat_template_kwargs: own }: ChatFields): object {
    const list = listed(tools)
    return { ...this.forAll(own), ...(list === undefined ? {} : { tools: list }) }
  }

  /** Options of the template, and its variables with a row's own. */
  forAll(own?: Record<string, unknown>): object {
    const { chatTemplate, templateKwargs } = this.options
    return { ...(templateKwargs || own ? { templateKwargs: { ...templateKwargs, ...own } } : {}), ...(chatTemplate === undefined ? {} : { chatTemplate }) }
  }

  #text({ text }: TextRow): Encoded {
    const inputIds = this.plain(this.ended(text))
    return { inputIds, labels: [...inputIds] }
  }

  #completion({ prompt, completion }: PromptCompletionRow): Encoded {
    const inputIds = this.plain(this.ended(prompt + completion))
    const from = this.options.loss === 'all' ? 0 : common(this.plain(prompt), inputIds)
    return { inputIds, labels: inputIds.map((id, i) => (i < from ? IGNORE : id)) }
  }

  #tokens({ input_ids: ids, labels = ids, attention_mask: mask }: TokenRow): Encoded {
    if (![ids, labels, mask ?? ids].every(list => Array.isArray(list) && list.length === ids.length)) throw this.#noRow({ input_ids: ids, labels, attention_mask: mask })
    const kept = (values: number[]) => (mask ? values.filter((_, i) => mask[i] !== 0) : [...values])
    return { inputIds: kept(ids), labels: kept(labels) }
  }

  #cut(row: Encoded): Encoded[] {
    const { maxLength = Infinity, truncation = 'delete' } = this.options
    return truncated(row, maxLength, truncation)
  }

  /** A text's ids, cut where that is wanted so that the special tokens stay. */
  #cutText(text: string): number[] {
    const { maxLength, truncation } = this.options
    return maxLength !== undefined && truncation === 'right' && this.tokenizer.encodeBatch
      ? this.tokenizer.encodeBatch([text], { padding: false, truncation: maxLength }).inputIds[0]
      : this.plain(text)
  }

  #class(inputIds: number[], label: number): EncodedClass[] {
    if (this.options.truncation === 'split') throw invalid('truncation', 'truncation: a text with a class cannot be split; give delete, left or right')
    return this.#cut({ inputIds, labels: inputIds }).map(row => ({ inputIds: row.inputIds, label }))
  }

  #noRow(row: unknown): SwiftTunersError {
    const what = isObject(row) ? `fields ${Object.keys(row).slice(0, 8).map(printable).join(', ') || '(none)'}` : shown(row)
    return new SwiftTunersError('ERR_INVALID_CONFIG', `encodeRow: row: expected messages, text, prompt and completion, chosen and rejected, or input_ids, found ${what}`)
  }
}

const isConversation = (row: Row): row is ChatRow => 'messages' in row && Array.isArray(row.messages) && row.messages.length > 0 && row.messages.every(isObject)

/** Whether a conversation is ms-swift's form of a text, or a text is one. */
function isText(row: Row): boolean {
  if ('text' in row) return typeof row.text === 'string' && !('label' in row)
  if (!isConversation(row) || row.messages.length > 1 || 'label' in row) return false
  const [{ role, content, tool_calls }] = row.messages
  return role === 'assistant' && typeof content === 'string' && !tool_calls
}

const textOf = (row: Row): string => ('text' in row ? row.text : (row as ChatRow).messages[0].content as string)

/** Tools as a list, also where they are its text. */
function listed(tools: ChatRow['tools']): unknown[] | undefined {
  const list = typeof tools === 'string' ? parseJson(tools) : tools
  if (list === undefined || list === null) return undefined
  return Array.isArray(list) ? list : [list]
}

const noTemplate = () => new SwiftTunersError('ERR_INVALID_CONFIG', 'encodeRow: tokenizer: conversations need its encodeChat and applyChatTemplate')

/** A message without what is for the loss. */
const bare = (message: Message): object => Object.fromEntries(Object.entries(message).filter(([name]) => name !== 'loss' && name !== 'loss_scale'))
