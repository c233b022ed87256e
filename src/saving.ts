import { boolean, type OptionTable, signal, where } from './options.js'

/** How something is saved. */
export interface SaveOptions {
  /** Default true: safetensors. False writes PyTorch's `.bin`. */
  safeSerialization?: boolean
  /** Bytes, or '300MB'; base models only. Default 5GB. */
  maxShardSize?: number | string
  /** Ends the saving; what stood there before stays. */
  signal?: AbortSignal
}

const SIZE = /^\s*(\d+(?:\.\d+)?)\s*(KB|MB|GB|KiB|MiB|GiB)\s*$/i
const isSize = (v: unknown) => (typeof v === 'number' ? Number.isFinite(v) && v > 0 : typeof v === 'string' && SIZE.test(v))

export const SAVE: OptionTable<SaveOptions> = {
  safeSerialization: boolean, maxShardSize: where('bytes or a size like \'300MB\'', isSize), signal,
}

/** Names of transformers and PEFT. */
export const SAVE_HINTS: Record<string, string> = { saveDirectory: 'it is the first argument', pushToHub: 'nothing is uploaded' }

/** @internal 300, '300MB', '5GB' → bytes (decimal units, as transformers counts them). */
export function shardBytes(size: number | string = 5e9): number {
  const match = SIZE.exec(String(size))
  if (!match) return Number(size)
  const unit = match[2].toLowerCase()
  const base = unit.includes('i') ? 1024 : 1000
  return Number(match[1]) * base ** (['k', 'm', 'g'].indexOf(unit[0]) + 1)
}
