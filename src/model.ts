import { AsyncLocalStorage } from 'node:async_hooks'
import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { native } from './errors.js'
import { decode, decodeSteps, type GenerateOptions, type GenerateStepsOptions, type GenerationStep } from './generate.js'
import { type ModelInputs, modelOutput, type ModelOutput, nativeInputs, type PassOptions } from './inputs.js'
import { type NativeCancelFlag, type NativeGenerateOptions, NativeGeneration, type NativeInputs, NativeModel } from './native/binding.js'
import { Parameter } from './parameter.js'
import { type SaveOptions, shardBytes } from './saving.js'
import { type Device, type DType, fromStateDict, stateDict, Tensor } from './tensor.js'

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

export type ModelHandle = { readonly swiftTunersModel: string; readonly kind: 'base' | 'swift' | 'peft' }

/** @internal The active adapters of the async call tree we are in, if `withActiveAdapters` set them. */
export const scopedAdapters = new AsyncLocalStorage<{ token: string; names: string[] }>()

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
  /** The directory or hub id that it was loaded from. */
  get nameOrPath(): string | undefined {
    return native(() => this.native.nameOrPath) ?? undefined
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

  /** @internal The adapters that `withActiveAdapters` has set for this model here. */
  get scope(): string[] | undefined {
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
    return modelOutput(await withSignal(options.signal, flag => this.native.forward(given, threadId, this.scope, grad, flag)))
  }

  /** The same on this thread: blocks the event loop, for small models and scripts. */
  forwardSync(inputs: ModelInputs, options: PassOptions = {}): ModelOutput {
    const given = nativeInputs(inputs, options)
    return native(() => modelOutput(this.native.forwardSync(given, threadId, this.scope, options.grad ?? true)))
  }

  namedModules(): string[] {
    return native(() => this.native.namedModules(this.prefix))
  }
  namedParameters(): ParameterInfo[] {
    return native(() => this.native.namedParameters(this.prefix)) as ParameterInfo[]
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
    return fromStateDict(native(() => this.native.stateDict(this.prefix)))
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
    yield* decode(this.#decoding(inputs), options)
  }

  /** The same with log-probabilities, texts, and why rows have ended. */
  async *generateSteps(inputs: ModelInputs, options: GenerateStepsOptions = {}): AsyncIterableIterator<GenerationStep> {
    yield* decodeSteps(this.#decoding(inputs), options)
  }

  #decoding(inputs: ModelInputs) {
    const start = (given: NativeInputs, settings: NativeGenerateOptions, flag: NativeCancelFlag) =>
      new NativeGeneration(this.native, given, settings, threadId, this.scope, flag)
    return { inputs, config: this.config, start }
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
