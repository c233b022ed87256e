import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { SwiftConfig } from './configs.js'
import { native, nativeAsync, SwiftTunersError, warn } from './errors.js'
import { Model, scopedAdapters, wrappers } from './model.js'
import type { NativeModel } from './native/binding.js'
import {
  boolean, callable, checkArgument, checkOptions, either, integer, list, number, oneOf, type OptionTable, path, requireOptions, seed, string, text,
} from './options.js'
import { LR_HINTS, type ParamGroup } from './param-group.js'
import { SAVE, SAVE_HINTS, type SaveOptions, shardBytes } from './saving.js'
import { fromStateDict, stateDict } from './state-dict.js'
import type { Tensor } from './tensor.js'

/** What became of every tensor of a checkpoint. A load of which nothing applies is an error. */
export interface LoadReport {
  /** What the adapter is called here. */
  adapter: string
  /** Where it came from. */
  file: string
  /** Names in the file. */
  loaded: string[]
  /** What the file has not, though the adapter has it. */
  missing: string[]
  /** What the adapter has no place for. */
  unexpected: string[]
  /** NaN or infinite values, converted dtypes, … in words. */
  warnings: string[]
}

/** How LoRAs become one; names and meanings are PEFT's. */
export interface WeightedAdapterOptions {
  /** Those that are combined. */
  adapters: string[]
  /** How much each counts. */
  weights: number[]
  /** What the new one is called. */
  adapterName: string
  /** Default 'svd'. */
  combinationType?: 'svd' | 'linear' | 'cat' | 'ties' | 'ties_svd' | 'dare_ties' | 'dare_linear' | 'dare_ties_svd'
    | 'dare_linear_svd' | 'magnitude_prune' | 'magnitude_prune_svd'
  /** Rank of the new one, for combinations that take a singular value decomposition. Default: the largest of the adapters'. */
  svdRank?: number
  /** The quantile, from 0 to 1, at which the factors' values are cut off. */
  svdClamp?: number
  /** Share of entries that pruning keeps. */
  density?: number
  /** How TIES decides which sign wins: by the sum of values or by their number. Default 'total'. */
  majoritySignMethod?: 'total' | 'frequency'
  /** Of what DARE drops. Default 0. */
  seed?: number
}

/** The rates of groups that say nothing of their own. */
export interface ParamGroupDefaults {
  /** The learning rate. */
  lr: number
  /** Of all but biases and norms. */
  weightDecay: number
}

/** What becomes of adapters that are not active. */
export interface OffloadOptions {
  /** Moves their tensors to the CPU, or out of memory. */
  offload?: 'cpu' | 'meta'
}

/** Which format's keys. */
export interface AdapterKeyOptions {
  /** PEFT's. Default false. */
  peftFormat?: boolean
}

/** Which adapters are merged. */
export interface MergeOptions {
  /** Default: the active ones. */
  adapterNames?: string[]
}

/** What is saved, and how. */
export interface SaveAdaptersOptions extends SaveOptions {
  /** One or several. Default: all. */
  adapterName?: string | string[]
  /** Writes LoRAs as PEFT does. Default false. */
  peftFormat?: boolean
}

const WEIGHTED: OptionTable<WeightedAdapterOptions> = {
  adapters: list(text, 1),
  weights: list(number(), 1),
  adapterName: text,
  combinationType: oneOf(
    'svd', 'linear', 'cat', 'ties', 'ties_svd', 'dare_ties', 'dare_linear', 'dare_ties_svd', 'dare_linear_svd', 'magnitude_prune', 'magnitude_prune_svd',
  ),
  svdRank: integer({ min: 1, max: 2 ** 31 - 1 }),
  svdClamp: number({ min: 0, max: 1 }),
  density: number({ min: 0, max: 1 }),
  majoritySignMethod: oneOf('total', 'frequency'),
  seed,
}
const DEFAULTS: OptionTable<ParamGroupDefaults> = { lr: number({ min: 0 }), weightDecay: number({ min: 0 }) }
const OFFLOAD: OptionTable<OffloadOptions> = { offload: oneOf('cpu', 'meta') }
/** @internal */
export const MERGE: OptionTable<MergeOptions> = { adapterNames: list(text) }
const KEYS: OptionTable<AdapterKeyOptions> = { peftFormat: boolean }
/** @internal One adapter, or several. */
export const NAMES = { ...either(string, list(string)), expected: 'an adapter\'s name, or a list of them' }
const SAVE_ADAPTERS: OptionTable<SaveAdaptersOptions> = { ...SAVE, adapterName: NAMES, peftFormat: boolean }

/** @internal */
export function listed(call: string, names: string | string[]): string[] {
  checkArgument(call, 'adapterNames', names, NAMES)
  return [names].flat()
}

/** Runs a call on an adapter; a name that does not exist is a warning, as in SWIFT. */
function unlessUnknown(call: string, name: string, body: (name: string) => void): void {
  checkArgument(call, 'adapterName', name, string)
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

  /** The adapters that act in this thread's passes. */
  get activeAdapters(): readonly string[] {
    return native(() => this.native.activeAdapters(threadId))
  }

  /** @internal Kinds by name, for the console. */
  get adapterTypes(): ReadonlyMap<string, string> {
    const kind = (config: { swift_type?: string; peft_type?: string }) => config.swift_type ?? config.peft_type ?? ''
    return new Map(native(() => this.native.adapters()).map(a => [a.name, kind(JSON.parse(a.config))]))
  }

  /** One per adapter that was loaded and not deleted since, newest last. */
  get loadReports(): readonly LoadReport[] {
    return native(() => this.native.loadReports()).map(({ notes, ...report }) => ({ ...report, warnings: [...report.warnings, ...notes] }))
  }

  /** Combines LoRAs into a new one, which becomes the only active one. */
  async addWeightedAdapter(options: WeightedAdapterOptions): Promise<void> {
    const { combinationType = 'svd', seed = 0, ...rest } = checkOptions('addWeightedAdapter', options, WEIGHTED)
    requireOptions('addWeightedAdapter', options, 'adapters', 'weights', 'adapterName')
    await nativeAsync(() => this.native.addWeightedAdapter({ ...rest, combinationType, seed }, threadId))
  }

  /**
   * Lets adapters act on what an optimizer's step has done: AdaLoRA moves its ranks. For a loop of one's own, after `optimizer.step()`
   * and before `zeroGrad()`; the Trainer calls it by itself. Steps count from 0.
   */
  async onStep(step: number): Promise<void> {
    checkArgument('onStep', 'step', step, integer({ min: 0 }))
    await nativeAsync(() => this.native.afterStep(step))
  }

  /** What adapters remember from step to step beside parameters: with it, parameters and the optimizer's state a run goes on as it would have. */
  stepState(): Record<string, Tensor> {
    return native(() => fromStateDict(this.native.stepState()))
  }

  /** Takes what `stepState()` gave. */
  async loadStepState(state: Record<string, Tensor>): Promise<void> {
    const given = stateDict('loadStepState', state)
    await nativeAsync(() => this.native.loadStepState(given))
  }

  /** The trainable parameters in groups for an optimizer; LoRA+ gives B matrices and embeddings rates of their own. */
  createOptimizerParamGroups(defaults: ParamGroupDefaults): ParamGroup[] {
    checkOptions('createOptimizerParamGroups', defaults, DEFAULTS, LR_HINTS)
    requireOptions('createOptimizerParamGroups', defaults, 'lr', 'weightDecay')
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
    const names = listed('withActiveAdapters', adapterNames)
    checkArgument('withActiveAdapters', 'body', body, callable)
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
  setActiveAdapters(adapterNames: string | string[], options: OffloadOptions = {}): void {
    const names = listed('setActiveAdapters', adapterNames)
    const { offload } = checkOptions('setActiveAdapters', options, OFFLOAD)
    const unknown = native(() => this.native.setActive(names, offload, threadId))
    for (const name of unknown) warn(`setActiveAdapters: ${JSON.stringify(name)} is no adapter of this model and is ignored`)
  }

  /** Adds an adapter to the active ones; an unknown name is ignored with a warning, as in SWIFT. */
  activateAdapter(adapterName: string): void {
    unlessUnknown('activateAdapter', adapterName, name => this.native.activate(name, threadId))
  }

  /** Takes an adapter out of the active ones; an unknown name is ignored with a warning, as in SWIFT. */
  deactivateAdapter(adapterName: string, options: OffloadOptions = {}): void {
    const { offload } = checkOptions('deactivateAdapter', options, OFFLOAD)
    unlessUnknown('deactivateAdapter', adapterName, name => this.native.deactivate(name, offload, threadId))
  }

  /** The keys under which an adapter's tensors are saved. */
  adapterKeys(adapterName: string, options: AdapterKeyOptions = {}): string[] {
    checkArgument('adapterKeys', 'adapterName', adapterName, string)
    const { peftFormat = false } = checkOptions('adapterKeys', options, KEYS)
    return native(() => this.native.adapterKeys(adapterName, peftFormat))
  }

  /**
   * Writes the adapters (all, or those named) and extra states, whole or not at all. Unknown names are skipped with a
   * warning, as in SWIFT. `peftFormat` writes LoRAs as PEFT does.
   */
  override async savePretrained(saveDirectory: string, options: SaveAdaptersOptions = {}): Promise<void> {
    checkArgument('savePretrained', 'saveDirectory', saveDirectory, path)
    const { adapterName, peftFormat = false, safeSerialization = true, maxShardSize, signal } = checkOptions('savePretrained', options, SAVE_ADAPTERS, SAVE_HINTS)
    const names = adapterName === undefined ? undefined : [adapterName].flat()
    const unknown = await withSignal(signal, flag =>
      this.native.savePretrained(saveDirectory, names, peftFormat, undefined, safeSerialization, shardBytes(maxShardSize), flag))
    for (const name of unknown) warn(`savePretrained: ${JSON.stringify(name)} is no adapter of this model and is not saved`)
  }
}

wrappers.swift = (handle: NativeModel) => new SwiftModel(handle)
