import { threadId } from 'node:worker_threads'
import { withSignal } from '../abort.js'
import { type ModelInputs, nativeInputs } from '../inputs.js'
import { Model } from '../model.js'
import { boolean, checkArgument, checkOptions, instance, invalidArgument, type OptionTable, signal } from '../options.js'
import { Tensor } from '../tensor.js'

/** What of the pass is wanted. */
export interface LogpsOptions {
  /** Whether a backward pass may follow. Default true. */
  grad?: boolean
  /** Ends the pass. */
  signal?: AbortSignal
}

/** How likely a model finds the labels of sequences. */
export interface SequenceLogps {
  /** `log p` of each label, `[rows, seq - 1]` (of an encoder-decoder `[rows, seq]`): that of label t + 1 at place t; 0 where there is none. */
  perToken: Tensor
  /** Their sums, `[rows]`. */
  sum: Tensor
  /** Their means over the labels that count, `[rows]`. */
  mean: Tensor
  /** How many labels of each row count. */
  tokens: number[]
  /** 1 where a label counts, in the shape of `perToken`. */
  mask: Tensor
}

const LOGPS: OptionTable<LogpsOptions> = { grad: boolean, signal }

/**
 * Log-probabilities of the labels (those that are -100 do not count), with their gradients. Logits are made for some positions at a time, and
 * never held as a whole, where the model computes in f32 or f64 on the CPU and its head is not trained.
 */
export async function sequenceLogps(model: Model, inputs: ModelInputs, options: LogpsOptions = {}): Promise<SequenceLogps> {
  checkArgument('sequenceLogps', 'model', model, instance(Model, 'a Model'))
  const { grad = true, signal } = checkOptions('sequenceLogps', options, LOGPS)
  if (inputs?.labels === undefined) throw invalidArgument('labels', 'sequenceLogps: labels: missing; they say which tokens count')
  const given = nativeInputs(inputs)
  const losses = new Tensor(await withSignal(signal, flag => model.native.tokenLosses(given, threadId, model.scope, grad, flag)))
  const [rows, width] = losses.shape
  const counts = counted(inputs.labels as number[][] | Tensor, rows, width)
  const tokens = counts.map(row => row.reduce((a, b) => a + b, 0))
  const mask = Tensor.from(counts.flat(), [rows, width], { dtype: losses.dtype })
  const perToken = losses.neg()
  const sum = perToken.sum(1)
  return { perToken, sum, mean: sum.div(Tensor.from(tokens, [rows], { dtype: sum.dtype })), tokens, mask }
}

/** 1 for each label that counts, where its loss stands. */
function counted(labels: number[][] | Tensor, rows: number, width: number): number[][] {
  const flat = labels instanceof Tensor ? Array.from(labels.dataSync(), Number) : Array.from(labels, row => Array.from(row)).flat()
  const seq = flat.length / rows
  return Array.from({ length: rows }, (_, i) => flat.slice(i * seq + seq - width, (i + 1) * seq).map(label => (label === -100 ? 0 : 1)))
}
