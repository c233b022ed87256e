/** Rows as token ids. */
import { isObject, where } from '../options.js'

/** A label that does not count. */
export const IGNORE = -100

/** A row as token ids, with what is trained. */
export interface Encoded {
  /** All tokens. */
  inputIds: number[]
  /** Of each token itself (the model shifts them); -100 does not count. */
  labels: number[]
  /** The weight of each token's loss, where messages have weights. */
  lossScale?: number[]
}

/** Two answers to one prompt as token ids. */
export interface EncodedPair {
  /** What both begin with. */
  promptIds: number[]
  /** The better answer alone. */
  chosenIds: number[]
  /** The worse one. */
  rejectedIds: number[]
  /** How much better. */
  margin?: number
}

/** An answer that is good or bad, as token ids. */
export interface EncodedUnpaired {
  /** What is answered. */
  promptIds: number[]
  /** The answer alone. */
  completionIds: number[]
  /** Whether it is good. */
  label: boolean
}

/** A text with its class. */
export interface EncodedClass {
  /** All tokens. */
  inputIds: number[]
  /** The class's number. */
  label: number
}

const ids = (value: unknown, length?: number) => Array.isArray(value) && (length === undefined || value.length === length)

/** Whether it is a text with its class. */
export function isEncodedClass(value: unknown): value is EncodedClass {
  return isObject(value) && ids((value as EncodedClass).inputIds) && typeof (value as EncodedClass).label === 'number'
}

/** Whether it is two answers to a prompt. */
export function isEncodedPair(value: unknown): value is EncodedPair {
  return isObject(value) && ids((value as EncodedPair).promptIds) && ids((value as EncodedPair).chosenIds) && ids((value as EncodedPair).rejectedIds)
}

/** Whether it is an answer that is good or bad. */
export function isEncodedUnpaired(value: unknown): value is EncodedUnpaired {
  return isObject(value) && ids((value as EncodedUnpaired).promptIds) && ids((value as EncodedUnpaired).completionIds) && typeof (value as EncodedUnpaired).label === 'boolean'
}

/** Rows with labels, for what takes them. */
export const encodedRows = where('a list of rows with inputIds and labels', v => Array.isArray(v) && Array.from(v).every(isEncoded))

export function isEncoded(value: unknown): value is Encoded {
  if (!isObject(value)) return false
  const { inputIds, labels, lossScale } = value as Encoded
  return ids(inputIds) && ids(labels, inputIds.length) && (lossScale === undefined || ids(lossScale, inputIds.length))
}
