import { AsyncLocalStorage } from 'node:async_hooks'
import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import type { Device, DType } from './dtype.js'
import { native } from './errors.js'
import { decode, decodeSteps, type GenerateOptions, type GenerateStepsOptions, type GenerationStep } from './generate.js'
import { FORWARD, type ForwardOptions, type ModelInputs, modelOutput, type ModelOutput, nativeInputs, PASS, type PassOptions } from './inputs.js'
import { modelText } from './inspect/model.js'
import { printed } from './inspect/printed.js'
import type { Quantization } from './load-options.js'
import { type NativeCancelFlag, type NativeGenerateOptions, NativeGeneration, type NativeInputs, NativeModel } from './native/binding.js'
import { boolean, checkArgument, checkHandle, checkOptions, object, type OptionTable, path, string, text } from './options.js'
import { Parameter } from './parameter.js'
import { SAVE, SAVE_HINTS, type SaveOptions, shardBytes } from './saving.js'
import { fromStateDict, stateDict } from './state-dict.js'
import { Tensor } from './tensor.js'

/** A parameter, without its value. */
export interface ParameterInfo {
  /** Dotted path as PyTorch's `named_parameters` gives it for the same tuned model. */
  name: string
  /** Sizes of its dimensions. */
  shape: number[]
  /** The type of its elements. */
  dtype: DType
  /** Where it is; 'meta' while it is out of memory. */
  device: Device | 'meta'
  /** Whether it trains. */
  requiresGrad: boolean
  /** Elements. */
  numel: number
  /** How the value is packed, if it is; `dtype` is what it is taken for. */
  quantization?: Quantization
}

/** A token for another worker thread; see `Model.share`. */
export interface ModelHandle {
  /** Which model. */
  readonly swiftTunersModel: string
  /** What has been made of it. */
  readonly kind: 'base' | 'swift' | 'peft'
}

/** How values are taken in. */
export interface LoadStateOptions {
  /** Unknown names and missing ones are errors. Default true. */
  strict?: boolean
}

const LOAD_STATE: OptionTable<LoadStateOptions> = { strict: boolean }
const HANDLE = { ...object<ModelHandle>({ swiftTunersModel: text, kind: text }), expected: 'what model.share() gave' }

/** @internal The active adapters of the async call tree we are in, if `withActiveAdapters` set them. */
export const scopedAdapters = new AsyncLocalStorage<{ token: string; names: string[] }>()

/** `torch.nn.Module`'s counterpart: a tree of named modules that lives in Rust. */
export class Model {
  /** @internal */
  readonly native: NativeModel

  /** @internal */
  constructor(handle: NativeModel) {
    checkHandle('Model', handle, NativeModel, 'AutoModel loads and makes models')
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
  /** Where its parameters are. */
  get device(): Device {
    return native(() => this.native.device) as Device
  }
  /** Whether it is in training mode: with dropout, noise and checkpointing. */
  get training(): boolean {
    return native(() => this.native.training)
  }
  /** Puts it into training mode, or out of it. */
  train(mode = true): this {
    checkArgument('train', 'mode', mode, boolean)
    native(() => this.native.train(mode))
    return this
  }
  /** Puts it out of training mode. */
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
  /** Keeps everything again. */
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
  async forward(inputs: ModelInputs, options: ForwardOptions = {}): Promise<ModelOutput> {
    const { grad = true, signal, ...rest } = checkOptions('forward', options, FORWARD)
    const given = nativeInputs(inputs, rest)
    return modelOutput(await withSignal(signal, flag => this.native.forward(given, threadId, this.scope, grad, flag)))
  }

  /** The same on this thread: blocks the event loop, for small models and scripts. */
  forwardSync(inputs: ModelInputs, options: PassOptions = {}): ModelOutput {
    const { grad = true, ...rest } = checkOptions('forwardSync', options, PASS, { signal: 'nothing can abort a pass that holds the thread; forward() takes one' })
    const given = nativeInputs(inputs, rest)
    return native(() => modelOutput(this.native.forwardSync(given, threadId, this.scope, grad)))
  }

  /** Dotted paths of all modules, as PyTorch's `named_modules` gives them. */
  namedModules(): string[] {
    return native(() => this.native.namedModules(this.prefix))
  }
  /** All parameters, in PyTorch's order. */
  namedParameters(): ParameterInfo[] {
    return native(() => this.native.namedParameters(this.prefix)) as ParameterInfo[]
  }
  /** Parameters that require gradients, for an optimizer. */
  parameters(): Parameter[] {
    return native(() => this.native.trainable(this.prefix)).map(p => new Parameter(p.name, p))
  }
  /** A copy of one parameter's value, by its name. */
  parameter(name: string): Tensor {
    checkArgument('parameter', 'name', name, string)
    return native(() => new Tensor(this.native.parameter(name)))
  }
  /** The accumulated gradient of one parameter, or null. */
  gradient(name: string): Tensor | null {
    checkArgument('gradient', 'name', name, string)
    const grad = native(() => this.native.gradient(name))
    return grad ? new Tensor(grad) : null
  }
  /** Says whether later passes compute a gradient for this parameter. */
  setRequiresGrad(name: string, on: boolean): void {
    checkArgument('setRequiresGrad', 'name', name, string)
    checkArgument('setRequiresGrad', 'on', on, boolean)
    native(() => this.native.setRequiresGrad(name, on))
  }
  /** Copies of all values, by name. */
  stateDict(): Record<string, Tensor> {
    return fromStateDict(native(() => this.native.stateDict(this.prefix)))
  }
  /** Copies values in by name, all or none; unknown names, missing ones and wrong shapes are errors unless `strict` is false (shapes always are). */
  loadStateDict(state: Record<string, Tensor>, options: LoadStateOptions = {}): void {
    const { strict = true } = checkOptions('loadStateDict', options, LOAD_STATE)
    native(() => this.native.loadStateDict(stateDict('loadStateDict', state), strict))
  }
  /** Drops the gradients of all parameters. */
  zeroGrad(): void {
    native(() => this.native.zeroGrad())
  }

  /** What it is, for `JSON.stringify`: values and names of its parameters are told by other calls. */
  toJSON(): { architecture: string; nameOrPath?: string; device: Device; parameters: number; trainable: number } {
    const { all, trainable } = native(() => this.native.countParameters())
    return { architecture: native(() => this.native.architecture), nameOrPath: this.nameOrPath, device: this.device, parameters: all, trainable }
  }

  /** Writes config.json and (sharded) safetensors, whole or not at all. */
  async savePretrained(directory: string, options: SaveOptions = {}): Promise<void> {
    checkArgument('savePretrained', 'directory', directory, path)
    const { safeSerialization = true, maxShardSize, signal } = checkOptions('savePretrained', options, SAVE, SAVE_HINTS)
    await withSignal(signal, flag => this.native.saveBase(directory, safeSerialization, shardBytes(maxShardSize), flag))
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
    checkArgument('fromHandle', 'handle', handle, HANDLE)
    checkArgument('fromHandle', 'handle.swiftTunersModel', handle.swiftTunersModel, text)
    return native(() => wrap(NativeModel.fromHandle(handle.swiftTunersModel)))
  }

  /**
   * Gives the memory back now, whoever else refers to the model; running calls finish first, later ones fail with ERR_DISPOSED. Calling it
   * again does nothing.
   */
  dispose(): void {
    this.native.dispose()
  }
  /** `dispose()`, for `using`. */
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

printed(Model, modelText)
