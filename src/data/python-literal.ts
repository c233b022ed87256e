/** Lists and dictionaries as Python prints them, which datasets have as text: `[['a question', 'an answer']]`. */
import { MAX_DEPTH } from './json-source.js'

const TOKEN = /\s*(?:([[\](){},:])|('(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*")|(-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(None|True|False))/y
const WORDS: Record<string, unknown> = { None: null, True: true, False: false }
const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\x07', 0: '\0', '\n': '' }

/** A literal of lists, tuples, dictionaries, strings, numbers and words (`ast.literal_eval`); throws a SyntaxError at anything else. */
export function parsePythonLiteral(text: string): unknown {
  const reader = new Reader(text)
  const value = reader.value(0)
  reader.end()
  return value
}

class Reader {
  readonly #text: string
  #at = 0
  #token: string | undefined
  #literal: unknown

  constructor(text: string) {
    this.#text = text
    this.#next()
  }

  value(depth: number): unknown {
    if (depth > MAX_DEPTH) throw new SyntaxError('nested too deeply')
    const token = this.#token
    if (token === 'literal') {
      const value = this.#literal
      this.#next()
      return value
    }
    if (token === '[' || token === '(') return this.#list(token === '[' ? ']' : ')', depth)
    if (token === '{') return this.#dictionary(depth)
    throw this.#wrong()
  }

  end(): void {
    if (this.#token !== undefined) throw this.#wrong()
  }

  #list(close: string, depth: number): unknown[] {
    const out: unknown[] = []
    for (this.#next(); this.#token !== close;) {
      out.push(this.value(depth + 1))
      this.#separator(close)
    }
    this.#next()
    return out
  }

  #dictionary(depth: number): Record<string, unknown> {
    const out: Record<string, unknown> = {}
    for (this.#next(); this.#token !== '}';) {
      const name = this.value(depth + 1)
      if (typeof name === 'object') throw this.#wrong()
      this.#mark(':')
      Object.defineProperty(out, String(name), { value: this.value(depth + 1), writable: true, enumerable: true, configurable: true })
      this.#separator('}')
    }
    this.#next()
    return out
  }

  #separator(close: string): void {
    if (this.#token !== close) this.#mark(',')
  }

  #mark(mark: string): void {
    if (this.#token !== mark) throw this.#wrong()
    this.#next()
  }

  #next(): void {
    TOKEN.lastIndex = this.#at
    const found = TOKEN.exec(this.#text)
    if (!found) {
      if (this.#text.slice(this.#at).trim() !== '') throw this.#wrong()
      this.#token = undefined
      return
    }
    this.#at = TOKEN.lastIndex
    const [, mark, quoted, number, word] = found
    this.#token = mark ?? 'literal'
    if (quoted !== undefined) this.#literal = unquoted(quoted)
    else if (number !== undefined) this.#literal = Number(number)
    else if (word !== undefined) this.#literal = WORDS[word]
  }

  #wrong(): SyntaxError {
    return new SyntaxError(`no literal of Python at character ${this.#at}`)
  }
}

function unquoted(text: string): string {
  return text.slice(1, -1).replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([^]))/g, (all, x?: string, u?: string, long?: string, c?: string) => {
    if (c !== undefined) return ESCAPES[c] ?? (/['"\\]/.test(c) ? c : all)
    const code = parseInt((x ?? u ?? long)!, 16)
    return code > 0x10ffff ? all : String.fromCodePoint(code)
  })
}
