/** Rows of datasets; what a row is shows in its fields, which have the names of the files. */

/** A part of a message. */
export interface TextPart {
  /** Only text. */
  type: 'text'
  /** What it says. */
  text: string
}

/** A call of a function that a model asks for. */
export interface ToolCall {
  /** What the result refers to. */
  id?: string
  /** Only functions. */
  type?: 'function'
  /** Which function, with which arguments: an object, or the text of one. */
  function: { name: string; arguments: Record<string, unknown> | string }
}

/** One turn of a conversation. */
export interface Message {
  /** Who says it; what a tool gave is of role `tool`. */
  role: 'system' | 'user' | 'assistant' | 'tool'
  /** What is said. `null` beside tool calls only. */
  content: string | TextPart[] | null
  /** Calls of functions, of an assistant. */
  tool_calls?: ToolCall[]
  /** Which call this is the result of. */
  tool_call_id?: string
  /** Of the tool that gave a result. */
  name?: string
  /** Thoughts before the answer, where templates know them. */
  reasoning_content?: string
  /** In the loss or not, whatever the option `loss` says. */
  loss?: boolean
  /** The weight of its tokens in the loss. Default 1. */
  loss_scale?: number
}

/** A function that a model may call, as a JSON schema; chat templates get it as it is. */
export type Tool = Record<string, unknown>

/** What rows with messages may have beside them. */
export interface ChatFields {
  /** Functions that the model may call: objects, or the JSON text of their list. */
  tools?: Tool[] | string
  /** Variables of the chat template. */
  chat_template_kwargs?: Record<string, unknown>
}

/** A conversation. */
export interface ChatRow extends ChatFields {
  /** In their order. */
  messages: Message[]
}

/** Text without a conversation. */
export interface TextRow {
  /** All of it is trained. */
  text: string
}

/** A text and how it goes on, without a chat template. */
export interface PromptCompletionRow {
  /** Not trained. */
  prompt: string
  /** Trained. */
  completion: string
}

/** Two answers to one prompt (DPO and kin): conversations, or texts without a chat template. */
export interface PairRow extends ChatFields {
  /** What both answers follow. */
  prompt: Message[] | string
  /** The better answer. */
  chosen: Message[] | string
  /** The worse one. */
  rejected: Message[] | string
  /** How much better, for reward models. */
  margin?: number
}

/** A conversation whose last answer is good or bad (KTO). */
export interface UnpairedRow extends ChatRow {
  /** Whether it is good. */
  label: boolean
}

/** A text or a conversation with its class (or a number, for regression). */
export type ClassRow = ({ text: string } | ChatRow) & {
  /** The class's number, from 0. */
  label: number
}

/** Token ids of one's own. */
export interface TokenRow {
  /** All tokens. */
  input_ids: number[]
  /** -100 where a token is not trained. Default: `input_ids`. */
  labels?: number[]
  /** 0 for tokens that are none; they are left out. */
  attention_mask?: number[]
}

/** What a dataset of any form gives. */
export type Row = ChatRow | TextRow | PromptCompletionRow | PairRow | UnpairedRow | ClassRow | TokenRow
