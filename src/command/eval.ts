/** `eval`. */
import { batches, type Dataset, encodeDataset, type Model, PeftModel, type SFTRow, SwiftModel } from '../../index.js'
import { invalid } from '../options.js'
import { answers, generation, question } from './answers.js'
import type { ValuesOf } from './argument.js'
import type { ExitStatus } from './commands.js'
import { hubOptions, load, type Loaded, named, withAdapters } from './load.js'
import { measure } from './measure.js'
import type { EVAL } from './options/commands.js'
import { print, table } from './print.js'
import { Progress } from './progress.js'
import { contextOf, encoding, sources } from './rows.js'
import { LOSSES } from './sft.js'

type Args = ValuesOf<typeof EVAL>

/** What was measured of one model. */
interface Found {
  loss?: number
  perplexity?: number
  token_acc?: number
  tokens?: number
  exact_match?: number
  rows?: number
}

/** Measures the base, then each adapter. */
export async function evaluate(args: Args): Promise<ExitStatus> {
  const texts = [...args.val_dataset, ...args.dataset]
  if (texts.length === 0) throw invalid('val_dataset', '--val_dataset: missing')
  const loaded = await load(args)
  const adapters = named(args.adapters)
  const model = (await withAdapters(loaded.model, adapters, hubOptions(args))).eval()
  const rows = sources(texts, args)
  const progress = new Progress((adapters.length + 1))
  const results: Record<string, Found> = {}
  for (const [i, name] of [undefined, ...adapters.map(one => one.name)].entries()) {
    const active = name === undefined ? [] : [name]
    const body = () => found(args, { ...loaded, model }, rows)
    results[name ?? 'base'] = model instanceof SwiftModel || model instanceof PeftModel ? await model.withActiveAdapters(active, body) : await body()
    progress.update(i + 1, name ?? 'base')
  }
  progress.end()
  print(args.json, results, shown)
  return 0
}

async function found(args: Args, loaded: Loaded, rows: Dataset<object>): Promise<Found> {
  const { model, tokenizer } = loaded
  const out: Found = {}
  if (args.metric !== 'exact_match') {
    const encoded = encodeDataset(tokenizer, rows as Dataset<SFTRow>, { ...encoding(args, contextOf(model.config)), loss: LOSSES[args.loss_scale] })
    const { loss, token_acc, tokens } = await measure(model, batches(encoded, { batchSize: args.max_batch_size, padTokenId: tokenizer.padTokenId ?? tokenizer.eosTokenId ?? 0 }))
    Object.assign(out, { loss, perplexity: Math.exp(loss), token_acc, tokens })
  }
  return args.metric === 'loss' ? out : { ...out, ...await matches(args, loaded, model, rows) }
}

/** How many answers are, but for white space around them, what the rows have. */
async function matches(args: Args, loaded: Loaded, model: Model, rows: Dataset<object>): Promise<Found> {
  const options = generation({ ...args, temperature: args.temperature ?? 0 }, loaded)
  let [right, count] = [0, 0]
  const asked = rows.filter(row => 'messages' in row || 'prompt' in row).map(row => question(loaded.tokenizer, row, args)).filter(one => one.label !== undefined)
  for await (const batch of asked.batch(args.max_batch_size)) {
    const given = await answers(model, batch, options)
    right += given.filter((text, i) => text.trim() === batch[i].label!.trim()).length
    count += batch.length
  }
  return count === 0 ? {} : { exact_match: right / count, rows: count }
}

/** A column for each model. */
function shown(results: Record<string, Found>): string {
  const names = Object.keys(results)
  const measures: [keyof Found, string, (value: number) => string][] = [
    ['loss', 'loss', v => v.toFixed(4)], ['perplexity', 'perplexity', v => v.toFixed(3)], ['token_acc', 'token accuracy', percent], ['exact_match', 'exact match', percent],
    ['tokens', 'tokens', String], ['rows', 'rows answered', String],
  ]
  const lines = measures.filter(([key]) => names.some(name => results[name][key] !== undefined))
    .map(([key, label, format]) => [label, ...names.map(name => (results[name][key] === undefined ? '' : format(results[name][key])))])
  return table([['', ...names], ...lines])
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
