/** Messages of a conversation. */
import { isObject, type Kind, where } from '../options.js'

/** A part of a message; which fields it has beside `type` is between the caller and the template. */
export interface ContentPart {
  /** Such as `'text'` or `'image'`. */
  type: string
  /** What a part of type `'text'` says. */
  text?: string
}

/** A call of a function that the assistant asks for. */
export interface ToolCall {
  /** What the answer refers to. */
  id?: string
  /** There are functions only. */
  type?: 'function'
  /** Which function, and with what; some templates want the arguments as text. */
  function: { name: string; arguments: Record<string, unknown> | string }
}

/** One turn of a conversation. */
export interface ChatMessage {
  /** Such as `'system'`, `'user'`, `'assistant'` or `'tool'`. */
  role: string
  /** What was said, whole or in parts; nothing where there are calls alone. */
  content?: string | null | readonly ContentPart[]
  /** What the assistant wants to be called. */
  tool_calls?: readonly ToolCall[]
  /** The call that a message of the role `'tool'` answers. */
  tool_call_id?: string
  /** Of a tool, or of who speaks. */
  name?: string
  /** What the assistant thought before it spoke. */
  reasoning_content?: string
  /** Whether the message counts in the loss; not for the template. */
  loss?: boolean
  /** How much it counts; not for the template. */
  loss_scale?: number
}

const isPart = (part: unknown) => isObject(part)
  && ((part as ContentPart).type !== 'text' || typeof (part as ContentPart).text === 'string')

const isContent = (content: unknown) => content === undefined || content === null || typeof content === 'string'
  || (Array.isArray(content) && Array.from(content).every(isPart))

/** A conversation, of one message at least. */
export const CHAT_MESSAGES: Kind = where('a list of messages { role, content }, at least one', v => Array.isArray(v) && v.length > 0
  && Array.from(v).every(m => isObject(m) && typeof (m as ChatMessage).role === 'string' && isContent((m as ChatMessage).content)))
