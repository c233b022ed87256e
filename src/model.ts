import { AsyncLocalStorage } from 'node:async_hooks'
import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { native, nativeAsync, SwiftTunersError } from './errors.js'
import { type HubOptions, resolveModel } from './hub.js'
import { warnOfSurplus } from './loading.js'
import * as binding from './native/binding.js'
import { NativeGeneration, NativeInputs, NativeModel, type NativeOutput, type NativeTensor } from './native/binding.js'
import type { ContainerSpec } from './nn.js'
import { Parameter } from './parameter.js'
import { type Device, type DType, fromStateDict, type NestedNumbers, stateDict, Tensor } from './tensor.js'

export interface ParameterInfo {
  /** Dotted path as PyTorch's `named_parameters` gives it for the same tuned model. */
  name: string
  shape: number[]
  dtype: DType
  device: Device | 'meta'
  requiresGrad: boolean
  numel: number
  /** How the value is packed, if it is; `dtype` is what it is taken for. */
  quantization?: Quantization
}

/** `nf4` as bitsandbytes makes it (blocks of 64), `q8_0` and `q4_k` as GGUF files hold them. */
export type Quantization = 'nf4' | 'q8_0' | 'q4_k'

/** What a model is called with; which fields apply depends on the architecture. Arrays or tensors. */
export interface ModelInputs {
  inputIds?: NestedNumbers | Tensor
  inputsEmbeds?: Tensor
  /** 1 keeps a position, 0 masks it. */
  attentionMask?: NestedNumbers | Tensor
  tokenTypeIds?: NestedNumbers | Tensor
  positionIds?: NestedNumbers | Tensor
  pixelValues?: Tensor
  /** Encoder-decoder models; made from `labels` when absent. */
  decoderInputIds?: NestedNumbers | Tensor
  decoderAttentionMask?: NestedNumbers | Tensor
  /** Diffusion models: a noisy latent, `[batch, channels, height, width]`. */
  sample?: Tensor
  /** One step for all rows, or one per row. */
  timestep?: number | number[] | Tensor
  encoderHiddenStates?: Tensor
  /** What a model made of `nn` modules takes in. */
  input?: NestedNumbers | Tensor
  /** ReFT: token positions, `[batch, interventions, positions]`. */
  interventionLocations?: NestedNumbers | Tensor
  /** Class ids, or token ids where -100 is ignored (floats for regression); present → the output has a `loss`. */
  labels?: NestedNumbers | Tensor
  /** What the output should be; present → the output's `loss` is the mean squared error. */
  target?: Tensor
  /**
   * The adapter of each row of the batch, `__base__` for the untuned model, whatever is active (PEFT's `adapter_names`). LoRA
   * of every kind, in `eval()` mode and not while merged; the base's products are taken once for all rows.
   */
  adapterNames?: string[]
}

export interface PassOptions {
  /** Default true: what a backward pass needs is kept. */
  grad?: boolean
  /** Default true. */
  logits?: boolean
}

export interface ModelOutput {
  logits?: Tensor
  lastHiddenState?: Tensor
  sample?: Tensor
  /** Scalar; `loss.backward()` adds to the model's gradients. */
  loss?: Tensor
}

export interface LoadOptions extends HubOptions {
  /** Default cpu. */
  device?: Device
  /** Default: as stored. */
  dtype?: DType
  /**
   * Keeps the weights of linear layers in 4 or 8 bits and frozen, to train adapters on top (QLoRA). `skipModules` names the
   * modules that stay as they are; the heads, when absent. On the CPU only. Rows that fit no block of `q4_k` are packed as
   * `q8_0`, or stay as they are.
   */
  quantization?: Quantization | { type: Quantization; skipModules?: string[] }
  /** Bytes while a file is downloaded, then tensors while they are read. */
  onProgress?: (event: { file: string; loaded: number; total: number }) => void
}

export interface SaveOptions {
  /** Default true: safetensors. False writes PyTorch's `.bin`. */
  safeSerialization?: boolean
  /** Bytes, or '300MB'; base models only. Default 5GB. */
  maxShardSize?: number | string
  signal?: AbortSignal
}

export type ModelHandle = { readonly swiftTunersModel: string; readonly kind: 'base' | 'swift' | 'peft' }

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

/** Fields that hold integers when given as arrays. */
const INTEGERS = new Set([
  'inputIds', 'attentionMask', 'tokenTypeIds', 'positionIds', 'decoderInputIds', 'decoderAttentionMask', 'interventionLocations',
])

/** @internal */
export function nativeInputs(inputs: ModelInputs, options: PassOptions = {}): NativeInputs {
  if (inputs === null || typeof inputs !== 'object') throw new TypeError('model inputs must be an object')
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
  if (Array.isArray(value) && value.every(name => typeof name === 'string')) return value
  throw new TypeError('adapterNames: expected one adapter name per row')
}

function inputTensor(name: string, value: unknown): NativeTensor {
  if (value instanceof Tensor) return value.native
  if (name === 'timestep' && typeof value === 'number') return Tensor.from([value]).native
  if (ArrayBuffer.isView(value)) return Tensor.from(value as Float32Array).native
  if (!Array.isArray(value)) throw new TypeError(`${name}: expected arrays of numbers or a Tensor, found ${typeof value}`)
  const integers = INTEGERS.has(name) || (name === 'labels' && allIntegers(value))
  try {
    return Tensor.from(value as NestedNumbers, undefined, { dtype: integers ? 'i64' : 'f32' }).native
  } catch (error) {
    if (error instanceof SwiftTunersError) throw new SwiftTunersError(error.code, `${name}: ${error.message}`)
    throw error
  }
}

function allIntegers(value: unknown): boolean {
  return Array.isArray(value) ? value.every(allIntegers) : Number.isSafeInteger(value)
}

const maybe = (t: NativeTensor | null | undefined) => (t ? new Tensor(t) : undefined)

function modelOutput(out: NativeOutput): ModelOutput {
  const result: ModelOutput = {}
  const logits = maybe(out.logits), hidden = maybe(out.lastHiddenState), sample = maybe(out.sample), loss = maybe(out.loss)
  if (logits) result.logits = logits
  if (hidden) result.lastHiddenState = hidden
  if (sample) result.sample = sample
  if (loss) result.loss = loss
  return result
}

/** @internal The active adapters of the async call tree we are in, if `withActiveAdapters` set them. */
export const scopedAdapters = new AsyncLocalStorage<{ token: string; names: string[] }>()

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

/** `torch.nn.Module`'s counterpart: a tree of named modules that lives in Rust. */
export class Model {
  /** @internal */
  readonly native: NativeModel

  /** @internal */
  constructor(handle: NativeModel) {
    this.native = handle
  }

  /** @internal What Python's wrappers put before every name. */
  get prefix(): string {
    return ''
  }

  /** The content of config.json, as it is now: LLaMA-Pro's new blocks change it. */
  get config(): Record<string, unknown> {
    return JSON.parse(native(() => this.native.config))
  }
  get device(): Device {
    return native(() => this.native.device) as Device
  }
  get training(): boolean {
    return native(() => this.native.training)
  }
  train(mode = true): this {
    native(() => this.native.train(mode))
    return this
  }
  eval(): this {
    return this.train(false)
  }

  /**
   * In training, blocks keep nothing for the backward pass but their inputs and run again for it: less memory for about a
   * third more time. Results are the same. Chen et al. 2016 (arXiv 1604.06174).
   */
  gradientCheckpointingEnable(): this {
    native(() => this.native.setCheckpointing(true))
    return this
  }
  gradientCheckpointingDisable(): this {
    native(() => this.native.setCheckpointing(false))
    return this
  }

  #scope(): string[] | undefined {
    const scope = scopedAdapters.getStore()
    return scope && scope.token === this.native.share() ? scope.names : undefined
  }

  /**
   * One pass. The active adapters are those of the moment of the call. With `grad: false` nothing is kept for a backward
   * pass, which saves memory and time (`torch.no_grad`). With `logits: false` and labels a decoder gives its loss alone,
   * in f32 or f64 on the CPU, and never holds all logits, of which masked positions need none (what Liger's fused
   * cross-entropy is for).
   */
  async forward(inputs: ModelInputs, options: PassOptions & { signal?: AbortSignal } = {}): Promise<ModelOutput> {
    const given = nativeInputs(inputs, options)
    const grad = options.grad ?? true
    return modelOutput(await withSignal(options.signal, flag => this.native.forward(given, threadId, this.#scope(), grad, flag)))
  }

  /** The same on this thread: blocks the event loop, for small models and scripts. */
  forwardSync(inputs: ModelInputs, options: PassOptions = {}): ModelOutput {
    const given = nativeInputs(inputs, options)
    return native(() => modelOutput(this.native.forwardSync(given, threadId, this.#scope(), options.grad ?? true)))
  }

  namedModules(): string[] {
    return native(() => this.native.namedModules()).map(n => this.prefix + n)
  }
  namedParameters(): ParameterInfo[] {
    const all = native(() => this.native.namedParameters())
    return all.map(p => ({ ...p, name: this.prefix + p.name })) as ParameterInfo[]
  }
  /** Parameters that require gradients, for an optimizer. */
  parameters(): Parameter[] {
    return native(() => this.native.trainable(this.prefix)).map(p => new Parameter(p.name, p))
  }
  /** A copy of one parameter's value, by its name. */
  parameter(name: string): Tensor {
    return native(() => new Tensor(this.native.parameter(name)))
  }
  /** The accumulated gradient of one parameter, or null. */
  gradient(name: string): Tensor | null {
    const grad = native(() => this.native.gradient(name))
    return grad ? new Tensor(grad) : null
  }
  /** Whether later passes compute a gradient for this parameter. */
  setRequiresGrad(name: string, on: boolean): void {
    native(() => this.native.setRequiresGrad(name, on))
  }
  stateDict(): Record<string, Tensor> {
    return fromStateDict(native(() => this.native.stateDict()), this.prefix)
  }
  /** Copies values in by name, all or none; unknown names, missing ones and wrong shapes are errors unless `strict` is false (shapes always are). */
  loadStateDict(state: Record<string, Tensor>, options: { strict?: boolean } = {}): void {
    native(() => this.native.loadStateDict(stateDict(state), options.strict ?? true))
  }
  zeroGrad(): void {
    native(() => this.native.zeroGrad())
  }

  /** Writes config.json and (sharded) safetensors, whole or not at all. */
  async savePretrained(directory: string, options: SaveOptions = {}): Promise<void> {
    const max = shardBytes(options.maxShardSize)
    await withSignal(options.signal, flag => this.native.saveBase(String(directory), options.safeSerialization ?? true, max, flag))
  }

  /** Autoregressive decoding with a key-value cache; yields one step's token ids at a time (one per row). */
  async *generate(inputs: ModelInputs, options: GenerateOptions = {}): AsyncIterableIterator<number[]> {
    const { config } = this
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
    const flag = new binding.NativeCancelFlag()
    const stop = () => flag.cancel()
    options.signal?.addEventListener('abort', stop, { once: true })
    try {
      const generation = native(() => new NativeGeneration(this.native, nativeInputs(inputs), settings, threadId, this.#scope(), flag))
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

  /** A token that another worker thread of this process turns back into the same model, without copying weights. */
  share(): ModelHandle {
    return native(() => ({ swiftTunersModel: this.native.share(), kind: this.native.flavor as ModelHandle['kind'] }))
  }
  /** The model behind a handle; the handle's maker must keep it alive. */
  static fromHandle(handle: ModelHandle): Model {
    return native(() => wrap(NativeModel.fromHandle(handle.swiftTunersModel)))
  }

  dispose(): void {
    this.native.dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** @internal Filled in by swift-model.ts and peft-model.ts, which depend on this file. */
export const wrappers: Partial<Record<string, (handle: NativeModel) => Model>> = {}

/** @internal The class that fits what the native model has become. */
export function wrap(handle: NativeModel): Model {
  return (wrappers[handle.flavor] ?? (h => new Model(h)))(handle)
}

/** SWIFT's switch: one set of active adapters for all threads (default), or one for each. */
const uniqueThread = () => process.env.USE_UNIQUE_THREAD !== '0'

/** Loads a Hugging Face model directory, or a hub id; the architecture comes from its config.json. */
export class AutoModel {
  static async fromPretrained(directoryOrId: string, options: LoadOptions = {}): Promise<Model> {
    const directory = await resolveModel(directoryOrId, options)
    const { onProgress } = options
    const report = onProgress && ((file: string, loaded: number, total: number) => onProgress({ file, loaded, total }))
    const { quantization: q } = options
    const packed = q === undefined ? undefined : typeof q === 'string' ? { packing: q } : { packing: String(q.type), skipModules: q.skipModules }
    const handle = await withSignal(options.signal, flag =>
      binding.loadModel(directory, options.dtype, options.device ?? 'cpu', packed, uniqueThread(), flag, report))
    warnOfSurplus(directory, handle.surplus)
    return new Model(handle)
  }

  /**
   * A network of `nn` modules with fresh random weights; the outermost is a `nn.sequential`. It takes `input` (or
   * `inputIds`, where it begins with an embedding) and gives `logits`. Saved and loaded as any model.
   */
  static fromModules(module: ContainerSpec, options: Omit<LoadOptions, 'quantization'> & { seed?: number; config?: Record<string, unknown> } = {}): Promise<Model> {
    return AutoModel.fromConfig({ architectures: ['CustomModel'], ...options.config, model_type: 'custom', module }, options)
  }

  /** The same architecture with fresh random weights. */
  static async fromConfig(config: Record<string, unknown>, options: Omit<LoadOptions, 'quantization'> & { seed?: number } = {}): Promise<Model> {
    const text = JSON.stringify(config)
    const handle = await withSignal(options.signal, () =>
      binding.newModel(text, options.dtype ?? 'f32', options.device ?? 'cpu', uniqueThread(), options.seed ?? 0))
    return new Model(handle)
  }
}
