/** What a conversation is laid out with. */
import type { NativeChat, NativeChatTemplate } from '../native/binding.js'
import { boolean, checkOptions, either, invalid, isObject, list, type OptionTable, record, signal, text, where } from '../options.js'
import { templateJson } from './json.js'

/** Variables of a template by the names that it has for them. */
export type TemplateVariables = Record<string, unknown>

/** What a template gets beside the messages. */
export interface TemplateOptions {
  /** Jinja, or the name of one of the tokenizer's templates. Default: the tokenizer's; with tools `tool_use`, where there is one. */
  chatTemplate?: string
  /** The clock that `strftime_now` reads. Default: now. */
  now?: Date
  /** The template's `enable_thinking`. */
  enableThinking?: boolean
  /** Ends with what the assistant's answer begins with. Default false. */
  addGenerationPrompt?: boolean
  /** Further variables, which may be other special tokens, too. Those that the template speaks of may also stand beside the options. */
  templateKwargs?: TemplateVariables
}

/** How a conversation is laid out, and how it ends. */
export interface ChatTemplateOptions extends TemplateOptions {
  /** What the assistant may call: functions as JSON schemas. */
  tools?: readonly unknown[]
  /** What the assistant may read. */
  documents?: readonly unknown[]
  /** Ends where the last message does, so that it goes on; or where a field of it does (`'reasoning_content'`). Default false. */
  continueFinalMessage?: boolean | string
}

/** How many conversations are encoded. */
export interface EncodeChatsOptions extends TemplateOptions {
  /** Stops the work; the promise rejects with its reason. */
  signal?: AbortSignal
}

const date = where('a Date', v => Object.prototype.toString.call(v) === '[object Date]' && !Number.isNaN((v as Date).getTime()))
const anything = where('anything', () => true)

const TEMPLATE: OptionTable<TemplateOptions> = { chatTemplate: text, now: date, enableThinking: boolean, addGenerationPrompt: boolean, templateKwargs: record(anything) }
export const CHAT: OptionTable<ChatTemplateOptions> = {
  ...TEMPLATE,
  tools: { ...list(where('an object', isObject)), expected: 'a list of objects' },
  documents: { ...list(where('an object', isObject)), expected: 'a list of objects' },
  continueFinalMessage: { ...either(boolean, text), expected: 'true, false or the name of a field' },
}
export const ENCODE_CHATS: OptionTable<EncodeChatsOptions> = { ...TEMPLATE, signal }

/** Variables that the call itself gives. */
const TAKEN: Record<string, string> = {
  messages: 'the first argument', tools: 'the option tools', documents: 'the option documents', add_generation_prompt: 'the option addGenerationPrompt',
}

const camel = (name: string) => name.replace(/_+([a-zA-Z0-9])/g, (_, c: string) => c.toUpperCase())

/**
 * @internal
 * Checks the options of a call and finds its template. An option that the table does not have is a variable, if the template speaks of it
 * and it is no other spelling of an option; else it is refused like any slip.
 */
export function templateCall<T extends TemplateOptions>(
  call: string, given: T, table: OptionTable<T>, find: (name: string | undefined, tools: boolean) => NativeChatTemplate,
): { options: T; template: NativeChatTemplate; variables: TemplateVariables } {
  if (!isObject(given)) return { options: checkOptions(call, given, table), template: find(undefined, false), variables: {} }
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => Object.hasOwn(table, name))) as T
  const others = Object.entries(given as object).filter(([name, value]) => !Object.hasOwn(table, name) && value !== undefined)
  const options = checkOptions(call, own, table)
  // Templates read `enable_thinking`; the others that they read have options of their own.
  const unknown = (name: string) => Object.hasOwn(TAKEN, name) || (Object.hasOwn(table, camel(name)) && name !== 'enable_thinking')
  const slip = others.find(([name]) => unknown(name))
  if (slip) checkOptions(call, { [slip[0]]: slip[1] } as T, table)
  const template = find(options.chatTemplate, (options as ChatTemplateOptions).tools !== undefined)
  for (const [name, value] of others) if (!template.uses(name)) checkOptions(call, { [name]: value } as T, table)
  for (const name of Object.keys(options.templateKwargs ?? {})) {
    if (Object.hasOwn(TAKEN, name)) throw invalid(`templateKwargs.${name}`, `${call}: templateKwargs: ${name} is ${TAKEN[name]}`)
  }
  const thinking = options.enableThinking === undefined ? {} : { enable_thinking: options.enableThinking }
  return { options, template, variables: { ...thinking, ...options.templateKwargs, ...Object.fromEntries(others) } }
}

/** @internal Variables as the JSON of an object; a name without a value is not there. */
export function variablesJson(call: string, variables: TemplateVariables): string {
  const given = Object.entries(variables).filter(([, value]) => value !== undefined)
  return `{${given.map(([name, value]) => `${JSON.stringify(name)}:${templateJson(`${call}: ${name}`, value)}`).join(',')}}`
}

/** @internal The clock of a call: milliseconds since 1970, and the minutes that the zone adds. */
export function clock(now = new Date()): { epoch: number; offset: number } {
  return { epoch: now.getTime(), offset: -now.getTimezoneOffset() }
}

/** @internal A conversation for the native side. */
export function chat(call: string, messages: unknown, special: TemplateVariables, options: ChatTemplateOptions, variables: TemplateVariables): NativeChat {
  const { continueFinalMessage: field = false, addGenerationPrompt: generationPrompt = false, tools, documents, now } = options
  if (field && generationPrompt) {
    throw invalid('continueFinalMessage', `${call}: continueFinalMessage: addGenerationPrompt begins another message; choose one of the two`)
  }
  return {
    messages: templateJson(`${call}: messages`, messages),
    variables: variablesJson(call, { ...special, tools, documents, ...variables }),
    ...clock(now), generationPrompt, continued: field === true ? 'content' : field === false ? undefined : field,
  }
}
