/** `data`: rows as they will be trained. */
import { join } from 'node:path'
import { AutoTokenizer, encodeRow, type SFTRow } from '../../index.js'
import { type Encoded, isEncoded } from '../data/encoded.js'
import { SwiftTunersError } from '../errors.js'
import { resolveModel } from '../hub.js'
import { invalid } from '../options.js'
import type { ValuesOf } from './argument.js'
import type { ExitStatus } from './commands.js'
import { readConfig } from './config-file.js'
import { hubOptions, modelName } from './load.js'
import type { SHOW } from './options/commands.js'
import { coloured, print } from './print.js'
import { contextOf, encoding, sources } from './rows.js'
import { LOSSES } from './sft.js'
import { learnedText, spans } from './token-text.js'

type Args = ValuesOf<typeof SHOW>

/** Shows the first rows, and counts all. */
export async function data(args: Args): Promise<ExitStatus> {
  const texts = [...args.dataset, ...args.val_dataset]
  if (texts.length === 0) throw invalid('dataset', '--dataset: missing')
  const name = await modelName(args)
  const folder = await resolveModel('--model', name, hubOptions(args))
  const tokenizer = await AutoTokenizer.fromPretrained(name, hubOptions(args))
  const context = contextOf(await readConfig(join(folder, 'config.json')))
  const { maxLength = Infinity, ...how } = { ...encoding(args, context), loss: LOSSES[args.loss_scale] }
  const rows = sources(texts, args)
  const shown: { index: number; row: Encoded }[] = []
  const lengths: number[] = []
  let [read, learned, long, empty, odd] = [0, 0, 0, 0, 0]
  let why: string | undefined
  for await (const row of rows) {
    const index = read++
    try {
      for (const one of encodeRow(tokenizer, row as SFTRow, { ...how, truncation: 'delete' })) {
        if (!isEncoded(one)) throw new SwiftTunersError('ERR_DATASET', 'a row of preferences or classes has no loss over tokens; data shows what sft trains')
        const trained = one.labels.filter((label, i) => i > 0 && label !== -100).length
        if (one.inputIds.length > maxLength) long++
        if (trained === 0) empty++
        lengths.push(one.inputIds.length)
        learned += trained
        if (shown.length < args.num_rows) shown.push({ index, row: one })
      }
    } catch (error) {
      if (!(error instanceof SwiftTunersError) || error.code === 'ERR_DATASET') throw error
      odd++
      why ??= `row ${index}: ${error.message}`
    }
  }
  const sorted = [...lengths].sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
  const total = lengths.reduce((a, b) => a + b, 0)
  const summary = {
    rows: read, unusable: rows.skipped, not_encodable: odd, ...(why ? { first_not_encodable: why } : {}), without_loss: empty, too_long: long, max_length: maxLength === Infinity ? null : maxLength, truncation_strategy: args.truncation_strategy,
    tokens: total, trained_tokens: learned, length: { min: at(0), median: at(0.5), p95: at(0.95), max: at(1) },
  }
  if (args.json) {
    print(true, { ...summary, shown: shown.map(({ index, row }) => ({ index, input_ids: row.inputIds, labels: row.labels, parts: spans(tokenizer, row) })) }, String)
    return 0
  }
  const colour = coloured()
  const width = Math.min(80, process.stdout.columns || 80)
  for (const { index, row } of shown) {
    const trained = row.labels.filter((label, i) => i > 0 && label !== -100).length
    process.stdout.write(`row ${index}: ${row.inputIds.length} tokens, ${trained} trained\n${learnedText(spans(tokenizer, row), { colour, width })}\n\n`)
  }
  if (shown.length > 0) process.stdout.write(`${colour ? 'Trained tokens are green and bold.' : 'Trained tokens stand between « and ».'}\n\n`)
  print(false, summary, told)
  return 0
}

function told(s: { rows: number; unusable: number; not_encodable: number; first_not_encodable?: string; without_loss: number; too_long: number; max_length: number | null; truncation_strategy: string; tokens: number; trained_tokens: number; length: { min: number; median: number; p95: number; max: number } }): string {
  const share = s.tokens === 0 ? 0 : (100 * s.trained_tokens) / s.tokens
  const fate: Record<string, string> = { delete: 'they go', left: 'their first tokens go', right: 'their last tokens go', split: 'they become several' }
  return [
    `${s.rows} rows, ${s.tokens.toLocaleString('en')} tokens, of which ${s.trained_tokens.toLocaleString('en')} are trained (${share.toFixed(1)} %)`,
    `lengths: ${s.length.min} to ${s.length.max}, median ${s.length.median}, 95 % up to ${s.length.p95}`,
    ...(s.max_length === null ? [] : [`longer than ${s.max_length}: ${s.too_long}${s.too_long > 0 ? ` (${fate[s.truncation_strategy]})` : ''}`]),
    `dropped: ${s.unusable} unusable, ${s.not_encodable} that the template refuses, ${s.without_loss} without a token that counts`,
    ...(s.first_not_encodable ? [s.first_not_encodable] : []),
  ].join('\n')
}
