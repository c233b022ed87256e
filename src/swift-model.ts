import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { SwiftConfig } from './configs.js'
import { native, nativeAsync, SwiftTunersError, warn } from './errors.js'
import { Model, scopedAdapters, wrappers } from './model.js'
import type { NativeModel } from './native/binding.js'
import type { Parameter } from './parameter.js'
import { type SaveOptions, shardBytes } from './saving.js'
import { fromStateDict, stateDict, type Tensor } from './tensor.js'

/** What became of every tensor of a checkpoint. A load of which nothing applies is an error. */
export interface LoadReport {
  adapter: string
  file: string
  loaded: string[]
  missing: string[]
  unexpected: string[]
  /** NaN or infinite values, converted dtypes, … in words. */
  warnings: string[]
}

export interface ParamGroup {
  params: Parameter[]
  lr?: number
  weightDecay?: number
  [extra: string]: unknown
}

export interface WeightedAdapterOptions {
  adapters: string[]
  weights: number[]
  adapterName: string
  /** Default 'svd'. */
  combinationType?: 'svd' | 'linear' | 'cat' | 'ties' | 'ties_svd' | 'dare_ties' | 'dare_linear' | 'dare_ties_svd'
    | 'dare_linear_svd' | 'magnitude_prune' | 'magnitude_prune_svd'
  svdRank?: number
  svdClamp?: number
  /** Share of entries that pruning keeps. */
  density?: number
  majoritySignMethod?: 'total' | 'frequency'
  seed?: number
}

/** @internal */
export function listed(names: string | string[]): string[] {
  return Array.isArray(names) ? names.map(String) : [String(names)]
}

/** Runs a call on an adapter; a name that does not exist is a warning, as in SWIFT. */
function unlessUnknown(call: string, adapterName: string, body: (name: string) => void): void {
  const name = String(adapterName)
  try {
    native(() => body(name))
  } catch (error) {
    if (!(error instanceof SwiftTunersError && error.code === 'ERR_ADAPTER_NOT_FOUND')) throw error
    warn(`${call}: ${JSON.stringify(name)} is no adapter of this model and is ignored`)
  }
}

/** What SwiftModel and PeftModel share. */
export abstract class TunedModel extends Model {
  /** The model inside; it shares the weights and the adapters. */
  get baseModel(): Model {
    return native(() => new Model(this.native.alias()))
  }

  get activeAdapters(): readonly string[] {
    return native(() => this.native.activeAdapters(threadId))
  }

  /** One per adapter loaded so far, newest last. */
  get loadReports(): readonly LoadReport[] {
    return native(() => this.native.loadReports()).map(({ notes, ...report }) => ({ ...report, warnings: [...report.warnings, ...notes] }))
  }

  /** Combines LoRAs into a new one, which becomes the only active one. */
  async addWeightedAdapter(options: WeightedAdapterOptions): Promise<void> {
    const { combinationType = 'svd', seed = 0, ...rest } = options
    await nativeAsync(() => this.native.addWeightedAdapter({ ...rest, combinationType, seed }, threadId))
  }

  /**
   * Lets adapters act on what an optimizer's step has done: AdaLoRA moves its ranks. For a loop of one's own, after `optimizer.step()`
   * and before `zeroGrad()`; the Trainer calls it by itself. Steps count from 0.
   */
  async onStep(step: number): Promise<void> {
    if (!Number.isSafeInteger(step) || step < 0) throw new SwiftTunersError('ERR_INVALID_CONFIG', `onStep: expected the number of a step, found ${step}`)
    await nativeAsync(() => this.native.afterStep(step))
  }

  /** What adapters remember from step to step beside parameters: with it, parameters and the optimizer's state a run goes on as it would have. */
  stepState(): Record<string, Tensor> {
    return native(() => fromStateDict(this.native.stepState()))
  }

  /** Takes what `stepState()` gave. */
  async loadStepState(state: Record<string, Tensor>): Promise<void> {
    await nativeAsync(() => this.native.loadStepState(stateDict(state)))
  }

  /** The trainable parameters in groups for an optimizer; LoRA+ gives B matrices and embeddings rates of their own. */
  createOptimizerParamGroups(defaults: { lr: number; weightDecay: number }): ParamGroup[] {
    const byName = new Map(this.parameters().map(p => [p.name, p]))
    return native(() => this.native.paramGroups(defaults.lr, defaults.weightDecay)).map(g => {
      const params = g.names.map(n => byName.get(n)!)
      return g.lr === undefined || g.lr === null ? { params, weightDecay: g.weightDecay } : { params, lr: g.lr, weightDecay: g.weightDecay }
    })
  }

  /** `trainable params: 3,584 || all params: 159,808 || trainable%: 2.2427|| cuda memory: 0.00GiB.`, letter by letter as SWIFT prints it. */
  getTrainableParameters(): string {
    return native(() => this.native.report())
  }

  /** Runs `body` with only these adapters active for every call made inside it, other async tasks unaffected. */
  async withActiveAdapters<T>(adapterNames: string | string[], body: () => Promise<T> | T): Promise<T> {
    const names = listed(adapterNames)
    return scopedAdapters.run({ token: this.native.share(), names }, async () => body())
  }
}

/** A model with SWIFT tuners. */
export class SwiftModel extends TunedModel {
  /** @internal */
  override get prefix(): string {
    return 'base_model.'
  }

  /** Configurations by adapter name, in the order of preparing. */
  get adapters(): ReadonlyMap<string, SwiftConfig> {
    return new Map(native(() => this.native.adapters()).map(a => [a.name, SwiftConfig.fromJSON(JSON.parse(a.config))]))
  }

  /**
   * Makes exactly these adapters active. Unknown names are skipped with a warning, as in SWIFT. With `offload` the tensors
   * of the others move to the CPU, or out of memory ('meta'); activating brings them back.
   */
  setActiveAdapters(adapterNames: string | string[], options: { offload?: 'cpu' | 'meta' } = {}): void {
    const unknown = native(() => this.native.setActive(listed(adapterNames), options.offload, threadId))
    for (const name of unknown) warn(`setActiveAdapters: ${JSON.stringify(name)} is no adapter of this model and is ignored`)
  }

  /** Adds an adapter to the active ones; an unknown name is ignored with a warning, as in SWIFT. */
  activateAdapter(adapterName: string): void {
    unlessUnknown('activateAdapter', adapterName, name => this.native.activate(name, threadId))
  }

  deactivateAdapter(adapterName: string, options: { offload?: 'cpu' | 'meta' } = {}): void {
    unlessUnknown('deactivateAdapter', adapterName, name => this.native.deactivate(name, options.offload, threadId))
  }

  /** The keys under which an adapter's tensors are saved. */
  adapterKeys(adapterName: string, options: { peftFormat?: boolean } = {}): string[] {
    return native(() => this.native.adapterKeys(adapterName, options.peftFormat ?? false))
  }

  /**
   * Writes the adapters (all, or those named) and extra states, whole or not at all. Unknown names are skipped with a
   * warning, as in SWIFT. `peftFormat` writes LoRAs as PEFT does.
   */
  override async savePretrained(saveDirectory: string, options: SaveOptions & { adapterName?: string | string[]; peftFormat?: boolean } = {}): Promise<void> {
    const names = options.adapterName == null ? undefined : listed(options.adapterName)
    const unknown = await withSignal(options.signal, flag =>
      this.native.savePretrained(String(saveDirectory), names, options.peftFormat ?? false, undefined, options.safeSerialization ?? true, shardBytes(options.maxShardSize), flag))
    for (const name of unknown) warn(`savePretrained: ${JSON.stringify(name)} is no adapter of this model and is not saved`)
  }
}

wrappers.swift = (handle: NativeModel) => new SwiftModel(handle)
