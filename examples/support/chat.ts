/** Chat data for causal language models: rows of prompt and completion to batches, and greedy answers. */
import { readFileSync } from 'node:fs'
import type { AutoTokenizer, Model } from '../../index.js'

export interface Row {
  prompt: string
  completion: string
}

export interface Encoded {
  ids: number[]
  /** The prompt's places are -100: only the completion is learned. */
  labels: number[]
}

/** One JSON object per line. */
export function readRows<T = Row>(file: string): T[] {
  return readFileSync(file, 'utf8').split('\n').filter(line => line.trim()).map((line, i) => {
    try {
      return JSON.parse(line) as T
    } catch (error) {
      throw new Error(`${file}, line ${i + 1}: ${(error as Error).message}`, { cause: error })
    }
  })
}

export function promptOf(tokenizer: AutoTokenizer, prompt: string): string {
  return tokenizer.applyChatTemplate([{ role: 'user', content: prompt }], { addGenerationPrompt: true })
}

export function encodeRow(tokenizer: AutoTokenizer, row: Row): Encoded {
  const prompt = tokenizer.encode(promptOf(tokenizer, row.prompt))
  const completion = [...tokenizer.encode(` ${row.completion}`), tokenizer.eosTokenId!]
  return { ids: [...prompt, ...completion], labels: [...prompt.map(() => -100), ...completion] }
}

/** Pads on the right. */
export function collate(rows: Encoded[], pad: number): { inputIds: number[][]; attentionMask: number[][]; labels: number[][] } {
  const longest = Math.max(...rows.map(r => r.ids.length))
  const fill = (values: number[], value: number) => [...values, ...Array<number>(longest - values.length).fill(value)]
  return {
    inputIds: rows.map(r => fill(r.ids, pad)),
    attentionMask: rows.map(r => fill(r.ids.map(() => 1), 0)),
    labels: rows.map(r => fill(r.labels, -100)),
  }
}

/** Greedy continuations, many at a time; prompts are padded on the left. */
export async function greedyAnswers(model: Model, tokenizer: AutoTokenizer, texts: string[], maxNewTokens = 48, batch = 16): Promise<string[]> {
  const out: string[] = []
  const eos = tokenizer.eosTokenId!
  for (let start = 0; start < texts.length; start += batch) {
    const { inputIds, attentionMask } = tokenizer.encodeBatch(texts.slice(start, start + batch), { paddingSide: 'left' })
    const rows: number[][] = inputIds.map(() => [])
    for await (const tokens of model.generate({ inputIds, attentionMask }, { maxNewTokens, eosTokenId: eos })) {
      tokens.forEach((token, i) => rows[i].push(token))
    }
    for (const row of rows) {
      const end = row.indexOf(eos)
      out.push(tokenizer.decode(end < 0 ? row : row.slice(0, end)).trim())
    }
  }
  return out
}
