/** Tokens as text that shows which of them are trained. */
import type { Encoded } from '../data/encoded.js'

/** Neighbouring tokens that are all trained, or all not. */
export interface Span {
  text: string
  trained: boolean
}

interface Decoder {
  decode(ids: number[], options: { skipSpecialTokens: boolean }): string
}

/** A row's text in spans. The first token is never trained: nothing is before it. */
export function spans(tokenizer: Decoder, { inputIds, labels }: Encoded): Span[] {
  const out: { ids: number[]; trained: boolean }[] = []
  inputIds.forEach((id, i) => {
    const trained = i > 0 && labels[i] !== -100
    const last = out.at(-1)
    if (last && last.trained === trained) last.ids.push(id)
    else out.push({ ids: [id], trained })
  })
  return out.map(({ ids, trained }) => ({ text: tokenizer.decode(ids, { skipSpecialTokens: false }), trained }))
}

const [GREEN, END] = ['\u001b[1;32m', '\u001b[0m']

/** Spans in lines of a width: trained ones in colour, or between « and » without. Control characters of the data are shown, not sent. */
export function learnedText(parts: readonly Span[], { colour, width }: { colour: boolean; width: number }): string {
  const lines: string[] = []
  let [line, column] = ['  ', 2]
  let open = false
  const put = (text: string) => {
    line += text
    column += columns(text)
  }
  const turn = () => {
    lines.push(line + (open && colour ? END : ''))
    line = `  ${open && colour ? GREEN : ''}`
    column = 2
  }
  for (const { text, trained } of parts) {
    if (trained) {
      if (colour) line += GREEN
      else put('«')
      open = colour
    }
    for (const character of text) {
      if (column + columns(character) >= width) turn()
      if (character === '\n') {
        put('⏎')
        turn()
      } else put(visible(character))
    }
    if (trained) {
      if (colour) line += END
      else put('»')
      open = false
    }
  }
  return [...lines, line].filter(one => one.trim() !== '').join('\n')
}

/** What would move the cursor is a picture of itself. */
const visible = (character: string): string => {
  const code = character.codePointAt(0)!
  return code < 32 ? String.fromCodePoint(0x2400 + code) : code === 127 || (code >= 0x80 && code < 0xa0) || (code >= 0x202a && code <= 0x202e) ? '\ufffd' : character
}

/** How many columns a character takes in a terminal. */
const columns = (character: string): number => (/\p{M}/u.test(character) ? 0 : WIDE.test(character) ? 2 : 1)
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u
