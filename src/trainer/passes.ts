import { threadId } from 'node:worker_threads'
import { withSignal } from '../abort.js'
import { native, SwiftTunersError } from '../errors.js'
import { type ModelInputs, nativeInputs } from '../inputs.js'
import type { Model } from '../model.js'
import type { NativeInputs } from '../native/binding.js'
import { Tensor } from '../tensor.js'
import { Means, type OwnLoss } from './own-loss.js'
import type { Located } from './source.js'

/** What all passes of a run share. */
export interface Passes {
  model: Model
  /** The adapters that run, where they are not the model's active ones. */
  scope: string[] | undefined
  signal: AbortSignal | undefined
  /** What is minimised in the place of the model's loss. */
  own: OwnLoss | undefined
  /** The trainer's. */
  seed: number
}

/** The loss of several batches, and what a loss of one's own has measured. */
export interface Measured {
  loss: number
  metrics: Record<string, number>
}

interface Counted extends Located {
  /** Absent where the loss is the caller's own. */
  inputs: NativeInputs | undefined
  /** Over how many values the batch's loss is a mean; undefined without labels. */
  items: number | undefined
}

/** Adds to an error where it happened. */
async function at<T>(where: string, signal: AbortSignal | undefined, body: () => T | Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    if (signal?.aborted || !(error instanceof SwiftTunersError)) throw error
    throw new SwiftTunersError(error.code, `${where}: ${error.message}`, { cause: error, details: error.details })
  }
}

const counted = ({ model, scope, signal, own }: Passes, { where, batch }: Located): Promise<Counted> => at(where, signal, () => {
  if (own) return { where, batch, inputs: undefined, items: own.items(batch) }
  const inputs = nativeInputs(batch)
  return { where, batch, inputs, items: native(() => model.native.lossItems(inputs, threadId, scope)) ?? undefined }
})

function finite(loss: number, where: string): number {
  if (Number.isFinite(loss)) return loss
  throw new SwiftTunersError('ERR_INVALID_STATE', `${where}: the loss is ${loss}; weights may have grown without bound (a lower learning rate or maxGradNorm helps), or the batch is broken`)
}

/**
 * The loss of several batches as of one that has all their rows, and its gradients: each batch counts by the number of values that its loss
 * is a mean of, as transformers' Trainer counts them since 4.46. The shares add up to 1, so that what adapters add to a loss counts once.
 */
export async function accumulate(passes: Passes, group: Located[], step: number): Promise<Measured> {
  const { model, scope, signal, own, seed } = passes
  const batches: Counted[] = []
  for (const located of group) batches.push(await counted(passes, located))
  const total = batches.reduce((n, { items }) => n + (items ?? 1), 0)
  if (total === 0) throw new SwiftTunersError('ERR_INVALID_ARGUMENT', `${group[0].where}: no label of the step's batches counts: all are -100, or stand where nothing is before them`)
  const means = new Means()
  let loss = 0
  for (const { where, batch, inputs, items = 1 } of batches) {
    if (items === 0) continue
    const share = items / total
    const value = await at(where, signal, async () => {
      if (inputs) return withSignal(signal, flag => model.native.forwardBackward(inputs, share, threadId, scope, flag))
      const computed = await own!.of(model, scope, batch, { training: true, step, seed, signal })
      const value = finite(computed.loss.item(), where)
      means.add(computed.metrics, share)
      await computed.loss.mul(share).backward()
      return value
    })
    loss += finite(value, where) * share
  }
  return { loss, metrics: means.over(1) }
}

/** The loss of all batches as of one, without dropout and gradients. */
export async function evaluateLoss(passes: Passes, batches: AsyncIterable<Located>, step: number): Promise<Measured> {
  const { model, scope, signal, own, seed } = passes
  const means = new Means()
  let sum = 0, total = 0
  for await (const located of batches) {
    const { where, batch, inputs, items = 1 } = await counted(passes, located)
    if (items === 0) continue
    const loss = await at(where, signal, async () => {
      if (inputs) return withSignal(signal, flag => model.native.evaluateLoss(inputs, threadId, scope, flag))
      const computed = await own!.of(model, scope, batch, { training: false, step, seed, signal })
      means.add(computed.metrics, items)
      return computed.loss.item()
    })
    sum += items * finite(loss, where)
    total += items
  }
  if (total === 0) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'evaluate: the data holds no batch with a label that counts')
  return { loss: sum / total, metrics: means.over(total) }
}

/** Tokens of a batch that are not padding. */
export function tokensOf(batch: ModelInputs): number {
  const of = batch.attentionMask ?? batch.inputIds
  if (of instanceof Tensor) return batch.attentionMask ? Array.from(of.dataSync(), Number).filter(v => v !== 0).length : of.shape.reduce((a, b) => a * b, 1)
  const count = (v: unknown): number => (Array.isArray(v) ? v.reduce((n: number, x) => n + count(x), 0) : batch.attentionMask ? Number(Number(v) !== 0) : 1)
  return count(of ?? [])
}

/** Positions of a batch's rows. */
export function widthOf(batch: ModelInputs): number {
  const ids = batch.inputIds
  return ids instanceof Tensor ? (ids.shape.at(-1) ?? 0) : Array.isArray(ids) && Array.isArray(ids[0]) ? ids[0].length : 0
}
