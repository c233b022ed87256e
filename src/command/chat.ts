/** A conversation in the terminal. */
import { createInterface } from 'node:readline'
import { type Message, type Model, PeftModel, SwiftModel } from '../../index.js'
import { nearest } from '../options.js'
import { conversation, generation } from './answers.js'
import type { ExitStatus } from './commands.js'
import type { InferArgs } from './infer.js'
import type { Loaded } from './load.js'
import { coloured } from './print.js'
import { say } from './progress.js'

const HELP = `/adapter NAME …  answers with these adapters (/adapter alone: with none)
/system TEXT     another system message, and a new conversation
/clear           a new conversation
/exit            the end`

const dim = (text: string): string => (coloured() ? `\u001b[2m${text}\u001b[0m` : text)

/** What is said in one conversation. */
class Chat {
  #messages: Message[] = []
  #system: string | undefined
  #active: string[] | undefined
  #abort: AbortController | undefined

  constructor(readonly args: InferArgs, readonly loaded: Loaded, readonly adapters: string[]) {
    this.#system = args.system
  }

  /** Ends the answer that is being given; whether there was one. */
  interrupt(): boolean {
    this.#abort?.abort()
    return this.#abort !== undefined
  }

  /** Does what a line that begins with / says; false at the end. */
  command(line: string): boolean {
    const [name, ...words] = line.slice(1).trim().split(/\s+/)
    switch (name) {
      case 'exit': case 'quit': return false
      case 'clear':
        this.#messages = []
        break
      case 'system':
        this.#system = line.slice('/system'.length).trim() || undefined
        this.#messages = []
        break
      case 'adapter': {
        const odd = words.find(word => !this.adapters.includes(word))
        if (odd === undefined) this.#active = words
        else say(`there is no adapter ${odd}; ${nearest(odd, this.adapters) ? `did you mean ${nearest(odd, this.adapters)}?` : `there are ${this.adapters.join(', ') || 'none'}`}`)
        break
      }
      default: say(HELP)
    }
    return true
  }

  /** Answers, on standard output. */
  async answer(text: string): Promise<void> {
    const { args, loaded: { tokenizer } } = this
    const said: Message[] = [...this.#messages, { role: 'user', content: text }]
    const ids = conversation(tokenizer, this.#system === undefined ? said : [{ role: 'system', content: this.#system }, ...said], args)
    this.#abort = new AbortController()
    let answer = ''
    try {
      await this.#with(async model => {
        for await (const { texts } of model.generateSteps({ inputIds: [ids] }, { ...generation(args, { ...this.loaded, model }), signal: this.#abort!.signal })) {
          answer += texts![0]
          if (args.stream) process.stdout.write(texts![0])
        }
      })
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error
    } finally {
      this.#abort = undefined
    }
    process.stdout.write(args.stream ? '\n' : `${answer}\n`)
    this.#messages = [...said, { role: 'assistant', content: answer }]
  }

  async #with(body: (model: Model) => Promise<void>): Promise<void> {
    const { model } = this.loaded
    if (this.#active !== undefined && (model instanceof SwiftModel || model instanceof PeftModel)) await model.withActiveAdapters(this.#active, () => body(model))
    else await body(model)
  }
}

/** Reads lines and answers them, up to /exit or the end of the input. Ctrl-C ends an answer, and between answers the chat. */
export async function chat(args: InferArgs, loaded: Loaded, adapters: string[]): Promise<ExitStatus> {
  const one = new Chat(args, loaded, adapters)
  const terminal = process.stdin.isTTY === true
  if (terminal) say(dim(`${loaded.model.nameOrPath ?? loaded.folder}${adapters.length > 0 ? `, adapters ${adapters.join(', ')}` : ''}; /help tells more`))
  const lines = createInterface({ input: process.stdin, output: terminal ? process.stderr : undefined, terminal, prompt: '> ' })
  let interrupted = false
  const interrupt = () => {
    if (one.interrupt()) return
    interrupted = true
    lines.close()
  }
  lines.on('SIGINT', interrupt)
  process.on('SIGINT', interrupt)
  if (terminal) lines.prompt()
  try {
    for await (const line of lines) {
      if (line.trim().startsWith('/')) {
        if (!one.command(line.trim())) break
      } else if (line.trim() !== '') await one.answer(line)
      if (terminal) lines.prompt()
    }
  } finally {
    process.off('SIGINT', interrupt)
    lines.close()
  }
  return interrupted ? 130 : 0
}
