/** The chat templates of a tokenizer. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { native, SwiftTunersError } from '../errors.js'
import { NativeChatTemplate, readText } from '../native/binding.js'
import { invalid, isObject, nearest, shown } from '../options.js'
import { printable } from '../text.js'

/** Bytes of a template's file. */
const LONGEST = 4 * 2 ** 20
/** Templates of the caller's own that are kept. */
const KEPT = 8

/** @internal Templates by name, read when they are first used. A tokenizer that has one calls it `default`. */
export class ChatTemplates {
  readonly #sources: ReadonlyMap<string, string>
  readonly #read = new Map<string, NativeChatTemplate>()
  readonly #own = new Map<string, NativeChatTemplate>()

  constructor(readonly directory: string, sources: ReadonlyMap<string, string>) {
    this.#sources = sources
  }

  /** `chat_template.jinja` and `additional_chat_templates/` of a folder; else what the configuration has, one or several by name. */
  static of(directory: string, config: Record<string, unknown>): ChatTemplates {
    const sources = new Map<string, string>()
    const file = native(() => readText(join(directory, 'chat_template.jinja'), LONGEST))
    if (typeof file === 'string') sources.set('default', file)
    for (const name of additional(join(directory, 'additional_chat_templates'))) {
      const text = native(() => readText(join(directory, 'additional_chat_templates', name), LONGEST))
      if (typeof text === 'string') sources.set(name.slice(0, -'.jinja'.length), text)
    }
    if (sources.size > 0) return new ChatTemplates(directory, sources)
    const { chat_template: given } = config
    if (typeof given === 'string') sources.set('default', given)
    for (const entry of Array.isArray(given) ? given as unknown[] : []) {
      if (!isObject(entry)) continue
      const { name, template } = entry as { name?: unknown; template?: unknown }
      if (typeof name === 'string' && typeof template === 'string') sources.set(name, template)
    }
    return new ChatTemplates(directory, sources)
  }

  /** All of them, by which one can tell them from others. */
  get text(): string {
    return JSON.stringify([...this.#sources])
  }

  /** Reads the template that is used when none is named, so that a broken one shows at once. */
  check(): void {
    if (this.#sources.has('default')) this.#named('default')
  }

  /** The template of a call: the one named, one's own, or the tokenizer's, which may have another for conversations with tools. */
  find(call: string, given: string | undefined, tools: boolean): NativeChatTemplate {
    if (given === undefined) return this.#usual(tools)
    if (this.#sources.has(given)) return this.#named(given)
    if (!given.includes('{')) {
      const names = [...this.#sources.keys()]
      const near = nearest(given, names)
      const known = near ? `did you mean ${printable(near)}?` : names.length ? `there are ${names.map(printable).join(', ')}` : 'this tokenizer has none'
      throw invalid('chatTemplate', `${call}: chatTemplate: ${shown(given)} is no Jinja and no template's name; ${known}`, near ? [near] : undefined)
    }
    let template = this.#own.get(given)
    if (!template) {
      template = native(() => new NativeChatTemplate(given))
      if (this.#own.size >= KEPT) this.#own.delete(this.#own.keys().next().value as string)
      this.#own.set(given, template)
    }
    return template
  }

  /** The template for conversations with tools, where it is another than the usual. */
  get withTools(): NativeChatTemplate | undefined {
    return this.#sources.has('tool_use') ? this.#named('tool_use') : undefined
  }

  #usual(tools: boolean): NativeChatTemplate {
    if (tools && this.withTools) return this.withTools
    if (this.#sources.has('default')) return this.#named('default')
    const names = [...this.#sources.keys()].map(printable)
    throw new SwiftTunersError('ERR_INVALID_CONFIG', names.length
      ? `tokenizer_config.json: none of this tokenizer's chat templates is the default; chatTemplate names one of ${names.join(', ')}`
      : 'tokenizer_config.json: this tokenizer has no chat_template')
  }

  #named(name: string): NativeChatTemplate {
    let template = this.#read.get(name)
    if (!template) {
      try {
        template = native(() => new NativeChatTemplate(this.#sources.get(name) as string))
      } catch (cause) {
        const message = `${this.directory}: ${(cause as Error).message}${name === 'default' ? '' : ` (${printable(name)})`}`
        throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', message, { cause })
      }
      this.#read.set(name, template)
    }
    return template
  }
}

function additional(directory: string): string[] {
  try {
    return readdirSync(directory).filter(name => name.endsWith('.jinja')).sort()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return []
    throw new SwiftTunersError('ERR_IO', `${directory}: ${printable((cause as Error).message)}`, { cause })
  }
}
