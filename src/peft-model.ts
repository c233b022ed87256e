import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { PeftConfig } from './configs.js'
import { native, nativeAsync, warn } from './errors.js'
import type { HubOptions } from './hub.js'
import { HUB } from './hub/options.js'
import { loadAdapters } from './loading.js'
import { Model, wrappers } from './model.js'
import { NativeCancelFlag, type NativeFromPretrainedOptions, type NativeModel } from './native/binding.js'
import { boolean, checkArgument, checkOptions, either, instance, list, type OptionTable, path, seed, string, text } from './options.js'
import { promptTexts } from './prompt-texts.js'
import { SAVE, SAVE_HINTS, type SaveOptions, shardBytes } from './saving.js'
import { getLayerStatus, getModelStatus, type LayerStatus, type ModelStatus } from './status.js'
import { listed, MERGE, type MergeOptions, TunedModel } from './swift-model.js'

/** How an adapter is loaded. */
export interface LoadAdapterOptions extends HubOptions {
  /** Default false: the adapter is loaded frozen. */
  isTrainable?: boolean
  /** Missing or surplus tensors become an error (ERR_CHECKPOINT_MISMATCH) and not a warning. */
  strict?: boolean
}

/** The same for the first one. */
export interface PeftLoadOptions extends LoadAdapterOptions {
  /** Default 'default'. */
  adapterName?: string
}

/** How an adapter is attached. */
export interface AddAdapterOptions {
  /** Of its first values: those that Python has after `torch.manual_seed(seed)`. Default 0. */
  seed?: number
}

/** How adapters become the active ones. */
export interface SetAdapterOptions {
  /** They do not train. Default false. */
  inferenceMode?: boolean
}

/** What is merged for good. */
export interface PeftMergeOptions extends MergeOptions {
  /** Refuses when a merged weight is no number, and leaves everything as it was. Default false. */
  safeMerge?: boolean
}

/** What is saved, and how. */
export interface PeftSaveOptions extends SaveOptions {
  /** Default: all. */
  selectedAdapters?: string[]
  /** The same, under the name that SWIFT's call has. */
  adapterName?: string | string[]
  /** SWIFT's: true says nothing new, for these are PEFT's files. */
  peftFormat?: boolean
  /** An adapter as it was before training (PiSSA, OLoRA, …): what is saved is the difference, which fits the untouched base. */
  pathInitialModelForWeightConversion?: string
}

export const LOAD_ADAPTER: OptionTable<LoadAdapterOptions> = { ...HUB, isTrainable: boolean, strict: boolean }
export const PEFT_LOAD: OptionTable<PeftLoadOptions> = { ...LOAD_ADAPTER, adapterName: text }
const ADD: OptionTable<AddAdapterOptions> = { seed }
const SET: OptionTable<SetAdapterOptions> = { inferenceMode: boolean }
const UNLOAD: OptionTable<PeftMergeOptions> = { ...MERGE, safeMerge: boolean }
const SAVE_PEFT: OptionTable<PeftSaveOptions> = {
  ...SAVE, selectedAdapters: list(string), adapterName: either(string, list(string)), peftFormat: boolean, pathInitialModelForWeightConversion: path,
}

const LOAD_HINTS = { inferenceMode: 'isTrainable: true loads an adapter that trains' }
const CONFIG = instance(PeftConfig, 'a PeftConfig, such as a LoraConfig')

/** A model with PEFT adapters: PEFT's names, PEFT's directory layout. */
export class PeftModel extends TunedModel {
  /** @internal */
  override get prefix(): string {
    return 'base_model.model.'
  }

  /** Configurations by adapter name. */
  get peftConfig(): ReadonlyMap<string, PeftConfig> {
    return new Map(native(() => this.native.adapters()).map(a => [a.name, PeftConfig.fromJSON(JSON.parse(a.config))]))
  }

  /** Loads an adapter of a directory (or hub id), called `default` unless named. What did not fit is in `loadReports`, with a warning. */
  static async fromPretrained(model: Model, modelId: string, options: PeftLoadOptions = {}): Promise<PeftModel> {
    checkArgument('PeftModel.fromPretrained', 'model', model, instance(Model, 'a Model'))
    const { adapterName = 'default', ...load } = checkOptions('PeftModel.fromPretrained', options, PEFT_LOAD, LOAD_HINTS)
    await loadAdapters('PeftModel.fromPretrained', model.native, modelId, settings(adapterName, load), load)
    return native(() => wrapPeft(model.native.alias()))
  }

  /** Attaches another adapter; the active ones stay as they are. */
  async addAdapter(adapterName: string, config: PeftConfig, options: AddAdapterOptions = {}): Promise<void> {
    checkArgument('addAdapter', 'adapterName', adapterName, text)
    checkArgument('addAdapter', 'config', config, CONFIG)
    const { seed = 0 } = checkOptions('addAdapter', options, ADD)
    const settings = { extraStateKeys: [], inferenceMode: false, seed, texts: await promptTexts([config]) }
    await nativeAsync(() => this.native.prepare([adapterName], [JSON.stringify(config)], settings, threadId, new NativeCancelFlag()))
  }

  /** Loads another adapter of a directory (or hub id); the active ones stay as they are. */
  async loadAdapter(modelId: string, adapterName: string, options: LoadAdapterOptions = {}): Promise<void> {
    checkArgument('loadAdapter', 'adapterName', adapterName, text)
    const load = checkOptions('loadAdapter', options, LOAD_ADAPTER, LOAD_HINTS)
    await loadAdapters('loadAdapter', this.native, modelId, settings(adapterName, load), load)
  }

  /** Calls an adapter by another name, in memory and in files that are written from now on. The model must not be in use. */
  renameAdapter(adapterName: string, newName: string): void {
    checkArgument('renameAdapter', 'adapterName', adapterName, string)
    checkArgument('renameAdapter', 'newName', newName, text)
    native(() => this.native.renameAdapter(adapterName, newName))
  }

  /** Takes an adapter away, with its weights. */
  deleteAdapter(adapterName: string): void {
    checkArgument('deleteAdapter', 'adapterName', adapterName, string)
    native(() => this.native.deleteAdapter(adapterName))
  }

  /** Makes these adapters active and trainable, the others neither; with `inferenceMode` these do not train either. */
  setAdapter(adapterNames: string | string[], options: SetAdapterOptions = {}): void {
    const names = listed('setAdapter', adapterNames)
    const { inferenceMode = false } = checkOptions('setAdapter', options, SET)
    native(() => this.native.setAdapter(names, inferenceMode, threadId))
  }

  /**
   * Whether later passes compute gradients for the tensors of these adapters, active or not; or, by the name of a parameter, for that one. PEFT's
   * `set_requires_grad`, and `Model.setRequiresGrad`.
   */
  override setRequiresGrad(names: string | string[], on: boolean): void {
    const adapters = listed('setRequiresGrad', names)
    checkArgument('setRequiresGrad', 'on', on, boolean)
    if (!Array.isArray(names) && !this.peftConfig.has(names)) super.setRequiresGrad(names, on)
    else native(() => this.native.setAdaptersRequireGrad(adapters, on))
  }

  /** `Swift.merge`, under PEFT's name: the active (or named) adapters go into the weights, and `unmergeAdapter` restores every bit. */
  async mergeAdapter(options: MergeOptions = {}): Promise<void> {
    const { adapterNames } = checkOptions('mergeAdapter', options, MERGE)
    await nativeAsync(() => this.native.merge(adapterNames, threadId))
  }
  /** Takes merged adapters out of the weights again, bit for bit. */
  async unmergeAdapter(): Promise<void> {
    await nativeAsync(() => this.native.unmerge())
  }

  /** In Python, SWIFT's call on a PeftModel only warns. */
  setActiveAdapters(adapterNames: string | string[]): void {
    listed('setActiveAdapters', adapterNames)
    warn(`setActiveAdapters does nothing on a PeftModel; call setAdapter(${JSON.stringify(adapterNames)})`)
  }
  /** SWIFT maps this to `setAdapter`. */
  activateAdapter(adapterName: string): void {
    this.setAdapter(adapterName)
  }
  /** In Python, SWIFT's call on a PeftModel only warns. */
  deactivateAdapter(adapterName: string): void {
    checkArgument('deactivateAdapter', 'adapterName', adapterName, string)
    warn(`deactivateAdapter(${JSON.stringify(adapterName)}) does nothing on a PeftModel; call setAdapter with the others`)
  }

  /** PEFT's name for `onStep`. */
  async updateAndAllocate(globalStep: number): Promise<void> {
    await this.onStep(globalStep)
  }

  /** Merges the active (or named) adapters into the weights and gives the plain model back. */
  async mergeAndUnload(options: PeftMergeOptions = {}): Promise<Model> {
    const { adapterNames, safeMerge = false } = checkOptions('mergeAndUnload', options, UNLOAD)
    await nativeAsync(() => this.native.mergeAndUnloadPeft(adapterNames, safeMerge, threadId))
    return this.baseModel
  }

  /** Takes all adapters off and gives the plain model back: its weights are the base's, but for `modulesToSave` of the active adapter, which stay, as in PEFT. */
  async unload(): Promise<Model> {
    await nativeAsync(() => this.native.unload(threadId))
    return this.baseModel
  }

  /** Runs `body` without adapters for every call made inside it, other async tasks unaffected (PEFT's `disable_adapter()`). */
  async disableAdapter<T>(body: () => Promise<T> | T): Promise<T> {
    return this.withActiveAdapters([], body)
  }

  /** The first active adapter. */
  get activeAdapter(): string | undefined {
    return this.activeAdapters[0]
  }

  /** The configuration of the first active adapter. */
  get activePeftConfig(): PeftConfig | undefined {
    return this.activeAdapter === undefined ? undefined : this.peftConfig.get(this.activeAdapter)
  }

  /** Elements of the parameters that train and of all, tied ones once, packed ones as if they were not. */
  getNbTrainableParameters(): { trainable: number; all: number } {
    return native(() => this.native.countParameters())
  }

  /** What stands on which layer. */
  getLayerStatus(): LayerStatus[] {
    return getLayerStatus(this)
  }

  /** The same of all layers together. */
  getModelStatus(): ModelStatus {
    return getModelStatus(this)
  }

  /** Writes `default` into the folder itself and any other adapter into a folder of its name. */
  override async savePretrained(saveDirectory: string, options: PeftSaveOptions = {}): Promise<void> {
    checkArgument('savePretrained', 'saveDirectory', saveDirectory, path)
    const { adapterName, pathInitialModelForWeightConversion: initial, safeSerialization = true, maxShardSize, signal, ...rest } = checkOptions('savePretrained', options, SAVE_PEFT, SAVE_HINTS)
    const selectedAdapters = rest.selectedAdapters ?? (adapterName === undefined ? undefined : [adapterName].flat())
    const unknown = await withSignal(signal, flag =>
      this.native.savePretrained(saveDirectory, selectedAdapters, true, initial, safeSerialization, shardBytes(maxShardSize), flag))
    for (const name of unknown) warn(`savePretrained: ${JSON.stringify(name)} is no adapter of this model and is not saved`)
  }
}

function settings(name: string, options: LoadAdapterOptions): NativeFromPretrainedOptions {
  return { names: [['default', name]], inferenceMode: !options.isTrainable, strict: options.strict ?? false, seed: 0 }
}

// PEFT's classes by `task_type`; they differ in name only, since the architecture decides what a model computes.
/** For `task_type` CAUSAL_LM. */
export class PeftModelForCausalLM extends PeftModel {}
/** For `task_type` SEQ_2_SEQ_LM. */
export class PeftModelForSeq2SeqLM extends PeftModel {}
/** For `task_type` SEQ_CLS. */
export class PeftModelForSequenceClassification extends PeftModel {}
/** For `task_type` TOKEN_CLS. */
export class PeftModelForTokenClassification extends PeftModel {}
/** For `task_type` QUESTION_ANS. */
export class PeftModelForQuestionAnswering extends PeftModel {}
/** For `task_type` FEATURE_EXTRACTION. */
export class PeftModelForFeatureExtraction extends PeftModel {}

const byTask: Record<string, typeof PeftModel> = {
  CAUSAL_LM: PeftModelForCausalLM,
  SEQ_2_SEQ_LM: PeftModelForSeq2SeqLM,
  SEQ_CLS: PeftModelForSequenceClassification,
  TOKEN_CLS: PeftModelForTokenClassification,
  QUESTION_ANS: PeftModelForQuestionAnswering,
  FEATURE_EXTRACTION: PeftModelForFeatureExtraction,
}

/** The class of the first adapter's task, as PEFT chooses it. */
function wrapPeft(handle: NativeModel): PeftModel {
  return new (byTask[handle.taskType ?? ''] ?? PeftModel)(handle)
}

wrappers.peft = wrapPeft
