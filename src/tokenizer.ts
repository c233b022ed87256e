import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LoadOptions } from './auto-model.js'
import { native, nativeAsync, SwiftTunersError } from './errors.js'
import { resolveModel } from './hub.js'
import { loadTokenizer, type NativeTokenizer } from './native/binding.js'
import { printable } from './text.js'

interface SpecialToken {
  content: string
}

/** A compiled chat template. */
interface ChatTemplate {
  render(values: Record<string, unknown>): string
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

  encode(text: string, options: { addSpecialTokens?: boolean } = {}): number[] {
    return native(() => this.#native.encode(String(text), options.addSpecialTokens ?? true))
  }

  /** Encodes several texts; `padding` fills them up to the longest, on `paddingSide`. */
  encodeBatch(texts: string[], options: { padding?: boolean; truncation?: number; paddingSide?: 'left' | 'right' } = {}): { inputIds: number[][]; attentionMask: number[][] } {
    const { padding = true, truncation, paddingSide = this.paddingSide } = options
    const rows = truncation === undefined
      ? native(() => this.#native.encodeBatch(texts.map(String), true))
      : native(() => texts.map(t => this.#native.encodeTruncated(String(t), truncation)))
    const longest = Math.max(0, ...rows.map(r => r.length))
    if (!padding) return { inputIds: rows, attentionMask: rows.map(r => r.map(() => 1)) }
    const pad = this.padTokenId ?? this.eosTokenId ?? 0
    const fill = <T>(row: T[], value: T) => {
      const rest = Array<T>(longest - row.length).fill(value)
      return paddingSide === 'left' ? [...rest, ...row] : [...row, ...rest]
    }
    return { inputIds: rows.map(r => fill(r, pad)), attentionMask: rows.map(r => fill(r.map(() => 1), 0)) }
  }

  decode(ids: number[], options: { skipSpecialTokens?: boolean } = {}): string {
    return native(() => this.#native.decode(Array.from(ids), options.skipSpecialTokens ?? true))
  }

  /** The conversation as the model's chat template lays it out. */
  applyChatTemplate(messages: { role: string; content: string }[], options: { addGenerationPrompt?: boolean } = {}): string {
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
