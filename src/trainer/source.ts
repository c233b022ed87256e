import { SwiftTunersError } from '../errors.js'
import type { ModelInputs } from '../inputs.js'
import { shown } from '../options.js'

/** A batch with its place. */
export interface Located {
  /** `train: epoch 0, batch 3` */
  where: string
  batch: ModelInputs
}

/** Batches in their order. */
export type Batches = Iterable<ModelInputs> | AsyncIterable<ModelInputs>

/** Data that gives each epoch an order of its own: the same for the same epoch and seed, so that a run can be resumed. */
export interface EpochSource {
  /** The batches of an epoch (from 0). */
  forEpoch(epoch: number, seed: number): Batches | Promise<Batches>
  /** Batches of an epoch, where it is known. */
  readonly length?: number
  /** Counts them by reading them, for schedules that need the number. */
  count?(): Promise<number>
}

/**
 * Where batches come from: the same ones in each epoch, or what a function or a data set gives for an epoch (from 0) and the trainer's
 * seed.
 */
export type BatchSource = Batches | EpochSource | ((epoch: number, seed: number) => Batches | Promise<Batches>)

const isSource = (source: object): source is EpochSource => typeof (source as EpochSource).forEpoch === 'function'
const isIterable = (value: unknown): value is Batches =>
  typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)

/** Whether a value can give batches. */
export const givesBatches = (value: unknown): boolean =>
  typeof value === 'function' || isIterable(value) || (typeof value === 'object' && value !== null && isSource(value))

/** Whether the data is told the epoch. */
export const knowsEpochs = (source: BatchSource): boolean => typeof source === 'function' || isSource(source)

/** Whether the data gives its batches once only. */
export const isSpent = (source: BatchSource): boolean => typeof (source as { next?: unknown }).next === 'function'

/** Batches of an epoch, where that is known beforehand. */
export function lengthOf(source: BatchSource): number | undefined {
  if (typeof source === 'function') return undefined
  const { length } = source as { length?: unknown }
  return Number.isSafeInteger(length) && (length as number) >= 0 ? (length as number) : undefined
}

/** The batches of an epoch. `name` is the option's. */
export async function batchesOf(name: string, source: BatchSource, epoch: number, seed: number): Promise<Batches> {
  const given = typeof source === 'function' ? await source(epoch, seed) : isSource(source) ? await source.forEpoch(epoch, seed) : source
  if (!isIterable(given)) throw new SwiftTunersError('ERR_INVALID_CONFIG', `${name}: expected batches for epoch ${epoch}, found ${shown(given)}`)
  return given
}
