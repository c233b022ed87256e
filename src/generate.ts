import { native, nativeAsync } from './errors.js'
import { type ModelInputs, nativeInputs } from './inputs.js'
import { NativeCancelFlag, type NativeGenerateOptions, type NativeGeneration, type NativeInputs } from './native/binding.js'

export interface GenerateOptions {
  /** Default 64. */
  maxNewTokens?: number
  /** 0 (default) is greedy. */
  temperature?: number
  topK?: number
  topP?: number
  seed?: number
  /** Default: the model's own. */
  eosTokenId?: number | number[]
  signal?: AbortSignal
}

type Start = (inputs: NativeInputs, settings: NativeGenerateOptions, flag: NativeCancelFlag) => NativeGeneration

/** @internal Token ids, one per row, step by step; what the options leave open is as the model's `config` has it. */
export async function* decode(inputs: ModelInputs, options: GenerateOptions, config: Record<string, unknown>, start: Start): AsyncIterableIterator<number[]> {
  const eos = options.eosTokenId ?? (config.eos_token_id as number | number[] | undefined) ?? []
  const eosTokenIds = (Array.isArray(eos) ? eos : [eos]).filter(t => typeof t === 'number')
  const pad = config.pad_token_id
  const settings = {
    maxNewTokens: options.maxNewTokens ?? 64,
    temperature: options.temperature ?? 0,
    topK: options.topK,
    topP: options.topP,
    seed: options.seed ?? 0,
    eosTokenIds,
    padTokenId: typeof pad === 'number' && pad >= 0 ? pad : (eosTokenIds[0] ?? 0),
  }
  options.signal?.throwIfAborted()
  const flag = new NativeCancelFlag()
  const stop = () => flag.cancel()
  options.signal?.addEventListener('abort', stop, { once: true })
  try {
    const generation = native(() => start(nativeInputs(inputs), settings, flag))
    for (;;) {
      const tokens = await nativeAsync(() => generation.next())
      options.signal?.throwIfAborted()
      if (tokens === null) return
      yield tokens
    }
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason
    throw error
  } finally {
    options.signal?.removeEventListener('abort', stop)
  }
}
