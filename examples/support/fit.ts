/** What the tuner examples share. */
import { join, resolve } from 'node:path'
import { AutoModel, AutoTokenizer, type Model, type ModelInputs, type Optimizer, Trainer } from '../../index.js'
import { collate, encodeRow, readRows } from './chat.js'

const demo = resolve(__dirname, '../../../examples/demo')

/** Mean losses of the first and of the last few steps; an example has worked when it fell. */
export interface Learned {
  before: number
  after: number
}

/** Trains step by step and says how it went. */
export async function fit(name: string, model: Model, train: ModelInputs[], optimizer: Optimizer, more: object = {}): Promise<Learned> {
  const losses: number[] = []
  const started = performance.now()
  for await (const step of new Trainer({ model, train, optimizer, ...more }).run()) losses.push(step.loss)
  model.eval()
  const few = Math.max(1, Math.floor(losses.length / 5))
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length
  const [before, after] = [mean(losses.slice(0, few)), mean(losses.slice(-few))]
  const count = (trained: boolean) => model.namedParameters().reduce((n, p) => n + (p.requiresGrad || !trained ? p.numel : 0), 0)
  const [trained, all] = [count(true), count(false)]
  console.log(`${name}: trains ${(100 * trained / all).toFixed(2)} % of ${all.toLocaleString('en')} parameters; loss ${before.toFixed(4)} → ${after.toFixed(4)} `
    + `in ${losses.length} steps, ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return { before, after }
}

/** The quickstart's language model and batches of its task: requests at home into tool calls. */
export async function toolCalls(steps: number, batch = 8): Promise<{ model: Model; tokenizer: AutoTokenizer; train: ReturnType<typeof collate>[] }> {
  const tokenizer = await AutoTokenizer.fromPretrained(join(demo, 'base-model'))
  const model = await AutoModel.fromPretrained(join(demo, 'base-model'), { dtype: 'f32' })
  const rows = readRows(join(demo, 'dataset/train.jsonl')).map(row => encodeRow(tokenizer, row))
  const train = Array.from({ length: steps }, (_, s) =>
    collate(Array.from({ length: batch }, (_row, i) => rows[(s * batch + i) % rows.length]), tokenizer.padTokenId ?? 0))
  return { model, tokenizer, train }
}

/** Runs an example's `main` when its file is the program: `node dist/examples/tuners/NAME.js [steps]`. */
export function whenRun(of: NodeModule, main: (steps?: number) => Promise<unknown>): void {
  if (require.main !== of) return
  main(process.argv[2] ? Number(process.argv[2]) : undefined).catch(error => {
    console.error(error)
    process.exit(1)
  })
}
