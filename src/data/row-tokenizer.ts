/** What encoding asks of a tokenizer; `AutoTokenizer` has it. */
import { isObject, where } from '../options.js'

/** Where a message of the assistant stands in the tokens of its conversation. */
export interface Turn {
  /** Its place in the messages. */
  message: number
  /** Its first token. */
  start: number
  /** Behind its last. */
  end: number
}

/** A conversation as token ids. */
export interface ConversationIds {
  /** All tokens; the template wrote the special ones. */
  inputIds: number[]
  /** What the assistant said. */
  turns: Turn[]
  /** Messages of the assistant that have no place of their own. */
  skipped: number[]
}

/** A tokenizer with a chat template. */
export interface RowTokenizer {
  /** Token ids of a text. */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[]
  /** Text of ids. */
  decode(ids: number[], options?: { skipSpecialTokens?: boolean }): string
  /** Token ids of texts that are cut, special tokens kept. */
  encodeBatch?(texts: string[], options?: { padding?: boolean; truncation?: number }): { inputIds: number[][] }
  /** A conversation as text. */
  applyChatTemplate?(messages: readonly object[], options?: object): string
  /** A conversation as token ids, with the places of the assistant's turns. */
  encodeChat?(messages: readonly object[], options?: object): ConversationIds
  /** The same of many, beside the event loop; each is the JSON text of `{ messages, tools?, chat_template_kwargs? }`. */
  encodeChats?(rows: readonly string[], options?: object): Promise<ConversationIds[]>
  /** Token ids of many texts, beside the event loop. */
  encodeMany?(texts: readonly string[]): Promise<number[][]>
  /** The token that ends a text. */
  readonly eosTokenId?: number
  /** A name for all that the tokenizer's files hold: two with the same give the same ids. Caches need it. */
  readonly fingerprint?: string
}

export const rowTokenizer = where('a tokenizer', v =>
  isObject(v) && typeof (v as RowTokenizer).encode === 'function' && typeof (v as RowTokenizer).decode === 'function')
