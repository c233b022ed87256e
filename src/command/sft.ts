/** `sft` and `pt`. */
import { batches, encodeDataset, type Dataset, type SFTRow, SFTTrainer } from '../../index.js'
import { isEncoded } from '../data/encoded.js'
import { invalid } from '../options.js'
import type { ValuesOf } from './argument.js'
import type { ExitStatus } from './commands.js'
import type { Loaded } from './load.js'
import { measure } from './measure.js'
import type { SFT } from './options/commands.js'
import { contextOf, encoding, trainingRows } from './rows.js'
import { train } from './training-run.js'

type Args = ValuesOf<typeof SFT>

export const LOSSES = { default: 'assistant', last_round: 'last', all: 'all' } as const

/** Supervised fine-tuning. */
export async function sft(args: Args): Promise<ExitStatus> {
  const rows = trainingRows(args)
  const evaluates = rows.evaluate !== undefined && (args.eval_strategy ?? args.save_strategy) !== 'no'
  const packed = args.packing_length ?? args.max_length
  if (args.packing && packed === undefined) throw invalid('packing_length', '--packing: needs --packing_length or --max_length')
  const encodes = ({ model }: Loaded) => ({ ...encoding(args, contextOf(model.config)), loss: LOSSES[args.loss_scale] })
  return train(args, {
    rows: () => rows.train.count(),
    async look(loaded) {
      const [first] = await encodeDataset(loaded.tokenizer, rows.train as Dataset<SFTRow>, encodes(loaded)).take(1).toArray()
      if (!isEncoded(first)) throw invalid('dataset', '--dataset: rows of preferences or classes; sft takes conversations, texts, or prompts with completions (rlhf takes preferences)')
    },
    evaluates,
    trainer(common, loaded, batchSize) {
      const { tokenizer } = loaded
      const how = encodes(loaded)
      const held = rows.evaluate as Dataset<SFTRow> | undefined
      const padTokenId = tokenizer.padTokenId ?? tokenizer.eosTokenId ?? 0
      const metrics = async () => {
        const encoded = encodeDataset(tokenizer, held!, how)
        return { token_acc: (await measure(loaded.model, batches(encoded, { batchSize: args.per_device_eval_batch_size, padTokenId }))).token_acc }
      }
      return new SFTTrainer({
        ...common, ...how, tokenizer, batchSize, train: rows.train as Dataset<SFTRow>, shuffle: args.dataset_shuffle,
        ...(evaluates ? { evaluate: held!, metrics } : {}),
        ...(args.packing ? { packing: { size: packed! } } : { groupByLength: args.group_by_length && args.dataset_shuffle }),
      })
    },
  })
}

/** The same on plain text: everything is trained. */
export const pt = (args: Args): Promise<ExitStatus> => sft({ ...args, loss_scale: 'all' })
