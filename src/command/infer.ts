/** `infer`: a chat, or answers to a dataset. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { PeftModel, SwiftModel } from '../../index.js'
import { answers, generation, question, type Question } from './answers.js'
import type { ValuesOf } from './argument.js'
import { chat } from './chat.js'
import type { ExitStatus } from './commands.js'
import { Interrupt } from './interrupt.js'
import { hubOptions, load, named, withAdapters } from './load.js'
import type { INFER } from './options/commands.js'
import { print } from './print.js'
import { Progress, say } from './progress.js'
import { sources } from './rows.js'
import { stamp } from './run-folder.js'

export type InferArgs = ValuesOf<typeof INFER>

/** Answers on the terminal, or into a file. */
export async function infer(args: InferArgs): Promise<ExitStatus> {
  const loaded = await load(args)
  const adapters = named(args.adapters)
  const model = await withAdapters(loaded.model, adapters, hubOptions(args))
  if (adapters.length > 1 && model instanceof SwiftModel) model.setActiveAdapters(adapters[0].name)
  if (adapters.length > 1 && model instanceof PeftModel) model.setAdapter(adapters[0].name, { inferenceMode: true })
  model.eval()
  const texts = [...args.val_dataset, ...args.dataset]
  if (texts.length === 0) return chat(args, { ...loaded, model }, adapters.map(({ name }) => name))

  const options = generation(args, { ...loaded, model })
  const file = resolve(args.result_path ?? join(adapters[0]?.folder ?? '.', 'infer_result', `${stamp()}.jsonl`))
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, '')
  const rows = sources(texts, args)
  const progress = new Progress(undefined)
  const interrupt = new Interrupt(() => say('\nstopping after these rows (Ctrl-C again: at once)'))
  let count = 0
  let right = 0
  let labelled = 0
  const answer = async (questions: Question[]) => {
    const given = await answers(model, questions, options)
    for (const [i, response] of given.entries()) {
      const { label, messages } = questions[i]
      if (label !== undefined) labelled++
      if (label !== undefined && label.trim() === response.trim()) right++
      appendFileSync(file, `${JSON.stringify({ response, ...(label === undefined ? {} : { labels: label }), messages: [...messages, { role: 'assistant', content: response }] })}\n`)
    }
    count += questions.length
    progress.update(count, 'rows')
  }
  try {
    for await (const batch of rows.map(row => question(loaded.tokenizer, row, args)).batch(args.max_batch_size)) {
      if (interrupt.requested) break
      await answer(batch)
    }
  } finally {
    interrupt.end()
    progress.end()
  }
  print(args.json, { result_path: file, rows: count, ...(labelled > 0 ? { exact_match: right / labelled } : {}) }, told =>
    `${told.rows} answers in ${relative(process.cwd(), file)}${labelled > 0 ? `, ${(100 * right / labelled).toFixed(1)} % as the rows have them` : ''}`)
  return interrupt.requested ? 130 : 0
}
