/** Texts that virtual tokens start from. */
import { AutoTokenizer } from './tokenizer.js'

/** The fields of a configuration that say so. */
interface TextFields {
  promptTuningInit?: unknown
  promptTuningInitText?: unknown
  tokenizerNameOrPath?: unknown
}

/** @internal The tokens of every text that the configurations start from, each read with its tokenizer as Python reads it. */
export async function promptTexts(configs: unknown[]): Promise<Record<string, number[]> | undefined> {
  const texts: Record<string, number[]> = {}
  for (const config of configs) {
    const { promptTuningInit, promptTuningInitText: text, tokenizerNameOrPath: name } = config as TextFields
    if (promptTuningInit !== 'TEXT' || typeof text !== 'string' || typeof name !== 'string') continue
    const tokenizer = await AutoTokenizer.fromPretrained(name)
    texts[text] = tokenizer.encode(text)
  }
  return Object.keys(texts).length > 0 ? texts : undefined
}
