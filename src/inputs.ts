/** What goes into a pass, and what comes out of it. */
import { native, SwiftTunersError } from './errors.js'
import { integerInputs, NativeInputs, type NativeOutput, type NativeTensor } from './native/binding.js'
import { allIntegers, type NestedNumbers } from './numbers.js'
import { boolean, checkArgument, integer, invalidArgument, isObject, list, type OptionTable, shown, signal, string, where } from './options.js'
import { Tensor } from './tensor.js'

/** What a model is called with; which fields apply depends on the architecture. Arrays or tensors. */
export interface ModelInputs {
  /** Token ids, `[batch, seq]`. */
  inputIds?: NestedNumbers | Tensor
  /** What the embedding would give, `[batch, seq, hidden]`, in place of `inputIds`. */
  inputsEmbeds?: Tensor
  /** 1 keeps a position, 0 masks it. */
  attentionMask?: NestedNumbers | Tensor
  /** Which of two texts each token is of (BERT). */
  tokenTypeIds?: NestedNumbers | Tensor
  /** The position of each token. Default: counted from 0. */
  positionIds?: NestedNumbers | Tensor
  /**
   * Rows that are packed of several sequences: the lengths of each row's, in order. Attention keeps the sequences apart, positions begin again
   * in each, and the first label of each counts nothing. `positionIds` that begin again say the same.
   */
  seqLengths?: number[][] | Tensor
  /** Images, `[batch, channels, height, width]`. */
  pixelValues?: Tensor
  /** Encoder-decoder models; made from `labels` when absent. */
  decoderInputIds?: NestedNumbers | Tensor
  /** 1 keeps a position of the decoder, 0 masks it. */
  decoderAttentionMask?: NestedNumbers | Tensor
  /** Diffusion models: a noisy latent, `[batch, channels, height, width]`. */
  sample?: Tensor
  /** One step for all rows, or one per row. */
  timestep?: number | number[] | Tensor
  /** What a text encoder gave, for attention over it. */
  encoderHiddenStates?: Tensor
  /** What a model made of `nn` modules takes in. */
  input?: NestedNumbers | Tensor
  /** ReFT: token positions, `[batch, interventions, positions]`. */
  interventionLocations?: NestedNumbers | Tensor
  /** Multitask prompt tuning and Poly: the task of each row, `[batch]`. */
  taskIds?: NestedNumbers | Tensor
  /** CPT: what each token is, `[batch, seq]`; 4 (an answer) when absent. */
  inputTypeMask?: NestedNumbers | Tensor
  /** Class ids, or token ids where -100 is ignored (floats for regression); present → the output has a `loss`. */
  labels?: NestedNumbers | Tensor
  /** How much each label of a causal model counts, `[batch, seq]`: the loss is the weighted sum over the number of labels. */
  lossScale?: NestedNumbers | Tensor
  /** Answers to questions: where each begins, `[batch]`; places that are not in the sequence count nothing. With both → the output has a `loss`. */
  startPositions?: NestedNumbers | Tensor
  /** Where each ends, its last token. */
  endPositions?: NestedNumbers | Tensor
  /** What the output should be; present → the output's `loss` is the mean squared error. */
  target?: Tensor
  /**
   * The adapter of each row of the batch, `__base__` for the untuned model, whatever is active (PEFT's `adapter_names`). LoRA
   * of every kind, in `eval()` mode and not while merged; the base's products are taken once for all rows.
   */
  adapterNames?: string[]
}

/** What of a pass is wanted. */
export interface PassOptions {
  /** Default true: what a backward pass needs is kept. */
  grad?: boolean
  /** Whether the output has logits, which a loss alone needs not. Default true. */
  logits?: boolean
}

/** What comes out of a pass; which fields there are depends on architecture and inputs. */
export interface ModelOutput {
  /** A score for each token of the vocabulary, or for each class. */
  logits?: Tensor
  /** Answers to questions: how likely each token is the first of the answer, `[batch, seq]`. */
  startLogits?: Tensor
  /** How likely it is the last. */
  endLogits?: Tensor
  /** What the last layer gave, `[batch, seq, hidden]`. */
  lastHiddenState?: Tensor
  /** Diffusion models: the predicted noise, as large as the input's `sample`. */
  sample?: Tensor
  /** Scalar; `loss.backward()` adds to the model's gradients. */
  loss?: Tensor
  /**
   * What active adapters want added to the loss, where they do (KaSA's and MonteCLoRA's regularisers, which PEFT's users add by hand, too):
   * `loss.add(adapterLoss)`.
   */
  adapterLoss?: Tensor
}

/** With an `AbortSignal`, where a pass runs beside the event loop. */
export interface ForwardOptions extends PassOptions {
  /** Ends the pass. */
  signal?: AbortSignal
}

export const PASS: OptionTable<PassOptions> = { grad: boolean, logits: boolean }
export const FORWARD: OptionTable<ForwardOptions> = { ...PASS, signal }

/** Fields that hold integers when given as arrays. */
const INTEGERS = new Set(integerInputs())

/** @internal */
export function nativeInputs(inputs: ModelInputs, options: PassOptions = {}): NativeInputs {
  checkArgument('model inputs', 'inputs', inputs, where('an object of inputs by name', isObject))
  return native(() => {
    const out = new NativeInputs()
    for (const [name, value] of Object.entries(inputs)) {
      if (value === undefined || value === null) continue
      if (name === 'adapterNames') out.setAdapterNames(rowNames(value))
      else out.set(name, inputTensor(name, value))
    }
    if (options.logits === false) out.setLossOnly()
    return out
  })
}

function rowNames(value: unknown): string[] {
  if (list(string).accepts(value)) return value as string[]
  throw invalidArgument('adapterNames', `adapterNames: expected one adapter name per row, found ${shown(value)}`)
}

function inputTensor(name: string, value: unknown): NativeTensor {
  if (value instanceof Tensor) return value.native
  if (name === 'timestep' && typeof value === 'number') return Tensor.from([value]).native
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) throw invalidArgument(name, `${name}: expected arrays of numbers or a Tensor, found ${shown(value)}`)
  const integers = INTEGERS.has(name) || (name === 'labels' && allIntegers(value))
  try {
    if (ArrayBuffer.isView(value)) return Tensor.from(value as Float32Array).native
    return Tensor.from(name === 'seqLengths' ? filled(value) : value as NestedNumbers, undefined, { dtype: integers ? 'i64' : 'f32' }).native
  } catch (error) {
    if (error instanceof SwiftTunersError) throw new SwiftTunersError(error.code, `${name}: ${error.message}`, { details: error.details })
    throw error
  }
}

/** Lists of lengths as rows of one length, with zeros. */
function filled(rows: unknown): NestedNumbers {
  if (!list(list(integer({ min: 0 }))).accepts(rows)) throw invalidArgument('seqLengths', `seqLengths: expected a list of lengths per row, found ${shown(rows)}`)
  const most = Math.max(1, ...(rows as number[][]).map(row => row.length))
  return (rows as number[][]).map(row => [...row, ...Array<number>(most - row.length).fill(0)])
}

const maybe = (t: NativeTensor | null | undefined) => (t ? new Tensor(t) : undefined)

/** @internal */
export function modelOutput(out: NativeOutput): ModelOutput {
  const result: ModelOutput = {}
  const logits = maybe(out.logits), hidden = maybe(out.lastHiddenState), sample = maybe(out.sample), loss = maybe(out.loss)
  if (logits) result.logits = logits
  const start = maybe(out.startLogits), end = maybe(out.endLogits)
  if (start) result.startLogits = start
  if (end) result.endLogits = end
  if (hidden) result.lastHiddenState = hidden
  if (sample) result.sample = sample
  if (loss) result.loss = loss
  const adapterLoss = maybe(out.penalty)
  if (adapterLoss) result.adapterLoss = adapterLoss
  return result
}
