import { SwiftTunersError } from './errors.js'

export interface SaveOptions {
  /** Default true: safetensors. False writes PyTorch's `.bin`. */
  safeSerialization?: boolean
  /** Bytes, or '300MB'; base models only. Default 5GB. */
  maxShardSize?: number | string
  signal?: AbortSignal
}

/** @internal 300, '300MB', '5GB' → bytes (decimal units, as transformers counts them). */
export function shardBytes(size: number | string | undefined): number {
  if (size === undefined) return 5e9
  if (typeof size === 'number' && size > 0) return size
  const match = /^\s*(\d+(?:\.\d+)?)\s*(KB|MB|GB|KiB|MiB|GiB)\s*$/i.exec(String(size))
  if (!match) throw new SwiftTunersError('ERR_INVALID_CONFIG', `maxShardSize: expected bytes or a size like '300MB', found ${String(size)}`)
  const unit = match[2].toLowerCase()
  const base = unit.includes('i') ? 1024 : 1000
  return Number(match[1]) * base ** (['k', 'm', 'g'].indexOf(unit[0]) + 1)
}
