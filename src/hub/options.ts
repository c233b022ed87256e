import { SwiftTunersError } from '../errors.js'
import { boolean, callable, oneOf, type OptionTable, path, signal, string, where } from '../options.js'

/** Where models are published. */
export type Hub = 'modelscope' | 'huggingface'

/** Where and how an id is looked up; nothing here matters for a local folder. */
export interface HubOptions {
  /** Where ids are looked up. Default ModelScope, or Hugging Face when `USE_HF=1`. */
  hub?: Hub
  /** Branch, tag or commit. Default `main` (Hugging Face) or `master` (ModelScope). */
  revision?: string
  /** Default `HF_TOKEN` or the file that `hf auth login` wrote; `MODELSCOPE_API_TOKEN`. */
  token?: string
  /** Default `HF_ENDPOINT`, `MODELSCOPE_ENDPOINT`, or the hub's own address. */
  endpoint?: string
  /** Root of the cache. Default as the Python packages find it (`HF_HUB_CACHE`, `MODELSCOPE_CACHE`, …). */
  cacheDirectory?: string
  /** Takes what the cache has and asks nobody; also with `HF_HUB_OFFLINE=1`. */
  localFilesOnly?: boolean
  /** Ends the download; what has arrived is kept for the next one. */
  signal?: AbortSignal
  /** Bytes of one file. */
  onProgress?: (event: { file: string; loaded: number; total: number }) => void
}

export const HUB: OptionTable<HubOptions> = {
  hub: oneOf('modelscope', 'huggingface'),
  revision: string,
  token: where('a token', v => typeof v === 'string' && /^[!-~]*$/.test(v)),
  endpoint: where('an address that begins with https:// or http://', v => typeof v === 'string' && /^https?:\/\//.test(v) && URL.canParse(v)),
  cacheDirectory: path,
  localFilesOnly: boolean,
  signal,
  onProgress: callable,
}

/** What a hub id looks like: one or two names of plain characters. */
export const ID = /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/
export const REVISION = /^[A-Za-z0-9][\w.-]*(\/[\w-][\w.-]*)*$/

export function failed(message: string, cause?: unknown): SwiftTunersError {
  return new SwiftTunersError('ERR_HUB', message, cause === undefined ? undefined : { cause })
}
