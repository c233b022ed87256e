import type { AutoTokenizer, DecodeStream } from './tokenizer.js'

interface RowText {
  stream: DecodeStream
  /** What may be the beginning of a stop string. */
  held: string
  ended: boolean
}

/** The texts of the rows of a decoding, as they grow. */
export class RowTexts {
  readonly #rows: RowText[] = []

  constructor(readonly tokenizer: AutoTokenizer, readonly stops: readonly string[]) {}

  /** What each row's text grows by, and the rows that a stop string ends. */
  push({ tokenIds, finishReasons }: { tokenIds: number[]; finishReasons: (string | null)[] }): { grown: string[]; stopped: number[] } {
    const stopped: number[] = []
    const grown = tokenIds.map((id, index) => {
      const row = (this.#rows[index] ??= { stream: this.tokenizer.decodeStream(), held: '', ended: false })
      if (row.ended) return ''
      const reason = finishReasons[index]
      let text = row.held + (reason === 'eos' ? '' : row.stream.push(id))
      if (reason !== null) text += row.stream.end()
      const at = this.#stop(text)
      if (at !== undefined) {
        row.ended = true
        if (reason !== 'eos') stopped.push(index)
        return text.slice(0, at)
      }
      row.ended = reason !== null
      const kept = row.ended ? 0 : this.#beginning(text)
      row.held = text.slice(text.length - kept)
      return text.slice(0, text.length - kept)
    })
    return { grown, stopped }
  }

  /** Where the first stop string begins. */
  #stop(text: string): number | undefined {
    const places = this.stops.map(stop => text.indexOf(stop)).filter(at => at >= 0)
    return places.length > 0 ? Math.min(...places) : undefined
  }

  /** How many of the last characters may be the beginning of a stop string. */
  #beginning(text: string): number {
    const most = Math.max(0, ...this.stops.map(stop => stop.length - 1))
    for (let n = Math.min(most, text.length); n > 0; n--) {
      if (this.stops.some(stop => stop.startsWith(text.slice(text.length - n)))) return n
    }
    return 0
  }
}
