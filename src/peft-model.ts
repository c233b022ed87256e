import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { PeftConfig } from './configs.js'
import { native, nativeAsync, warn } from './errors.js'
import type { HubOptions } from './hub.js'
import { loadAdapters } from './loading.js'
import { Model, wrappers } from './model.js'
import { NativeCancelFlag, type NativeFromPretrainedOptions, type NativeModel } from './native/binding.js'
import { promptTexts } from './prompt-texts.js'
import { type SaveOptions, shardBytes } from './saving.js'
import { getLayerStatus, getModelStatus, type LayerStatus, type ModelStatus } from './status.js'
import { listed, TunedModel } from './swift-model.js'

export interface LoadAdapterOptions extends HubOptions {
  /** Default false: the adapter is loaded frozen. */
  isTrainable?: boolean
  /** Missing or surplus tensors become an error (ERR_CHECKPOINT_MISMATCH) and not a warning. */
  strict?: boolean
}

/** A model with PEFT adapters: PEFT's names, PEFT's directory layout. */
export class PeftModel extends TunedModel {
  /** @internal */
  override get prefix(): string {
    return 'base_model.model.'
  }

  get peftConfig(): ReadonlyMap<string, PeftConfig> {
    return new Map(native(() => this.native.adapters()).map(a => [a.name, PeftConfig.fromJSON(JSON.parse(a.config))]))
  }

  /** Loads an adapter of a directory (or hub id), called `default` unless named. What did not fit is in `loadReports`, with a warning. */
  static async fromPretrained(model: Model, modelId: string, options: LoadAdapterOptions & { adapterName?: string } = {}): Promise<PeftModel> {
    await loadAdapters(model.native, modelId, settings(options.adapterName ?? 'default', options), options)
    return native(() => wrapPeft(model.native.alias()))
  }

  /** Attaches another adapter; the active ones stay as they are. */
  async addAdapter(adapterName: string, config: PeftConfig, options: { seed?: number } = {}): Promise<void> {
    const settings = { extraStateKeys: [], inferenceMode: false, seed: options.seed ?? 0, texts: await promptTexts([config]) }
    await nativeAsync(() => this.native.prepare([adapterName], [JSON.stringify(config)], settings, threadId, new NativeCancelFlag()))
  }

  async loadAdapter(modelId: string, adapterName: string, options: LoadAdapterOptions = {}): Promise<void> {
    await loadAdapters(this.native, modelId, settings(adapterName, options), options)
  }

  /** Calls an adapter by another name, in memory and in files that are written from now on. The model must not be in use. */
  renameAdapter(adapterName: string, newName: string): void {
    native(() => this.native.renameAdapter(String(adapterName), String(newName)))
  }

  deleteAdapter(adapterName: string): void {
    native(() => this.native.deleteAdapter(adapterName))
  }

  /** Makes these adapters active and trainable, the others neither; with `inferenceMode` these do not train either. */
  setAdapter(adapterNames: string | string[], options: { inferenceMode?: boolean } = {}): void {
    native(() => this.native.setAdapter(listed(adapterNames), options.inferenceMode ?? false, threadId))
  }

  /**
   * Whether later passes compute gradients for the tensors of these adapters, active or not; or, by the name of a parameter, for that one. PEFT's
   * `set_requires_grad`, and `Model.setRequiresGrad`.
   */
  override setRequiresGrad(names: string | string[], on: boolean): void {
    const adapters = listed(names), known = this.peftConfig
    if (!Array.isArray(names) && !known.has(names)) super.setRequiresGrad(names, on)
    else native(() => this.native.setAdaptersRequireGrad(adapters, on))
  }

  /** `Swift.merge`, under PEFT's name: the active (or named) adapters go into the weights, and `unmergeAdapter` restores every bit. */
  async mergeAdapter(options: { adapterNames?: string[] } = {}): Promise<void> {
    await nativeAsync(() => this.native.merge(options.adapterNames, threadId))
  }
  async unmergeAdapter(): Promise<void> {
    await nativeAsync(() => this.native.unmerge())
  }

  /** In Python, SWIFT's call on a PeftModel only warns. */
  setActiveAdapters(adapterNames: string | string[]): void {
    warn(`setActiveAdapters does nothing on a PeftModel; call setAdapter(${JSON.stringify(adapterNames)})`)
  }
  /** SWIFT maps this to `setAdapter`. */
  activateAdapter(adapterName: string): void {
    this.setAdapter(adapterName)
  }
  /** In Python, SWIFT's call on a PeftModel only warns. */
  deactivateAdapter(adapterName: string): void {
    warn(`deactivateAdapter(${JSON.stringify(adapterName)}) does nothing on a PeftModel; call setAdapter with the others`)
  }

  /** PEFT's name for `onStep`. */
  async updateAndAllocate(globalStep: number): Promise<void> {
    await this.onStep(globalStep)
  }

  /** Merges the active (or named) adapters into the weights and gives the plain model back. */
  async mergeAndUnload(options: { adapterNames?: string[]; safeMerge?: boolean } = {}): Promise<Model> {
    await nativeAsync(() => this.native.mergeAndUnloadPeft(options.adapterNames, options.safeMerge ?? false, threadId))
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
  override async savePretrained(saveDirectory: string, options: SaveOptions & { selectedAdapters?: string[]; pathInitialModelForWeightConversion?: string } = {}): Promise<void> {
    const unknown = await withSignal(options.signal, flag =>
      this.native.savePretrained(String(saveDirectory), options.selectedAdapters, true, options.pathInitialModelForWeightConversion, options.safeSerialization ?? true, shardBytes(options.maxShardSize), flag))
    for (const name of unknown) warn(`savePretrained: ${JSON.stringify(name)} is no adapter of this model and is not saved`)
  }
}

function settings(name: string, options: LoadAdapterOptions): NativeFromPretrainedOptions {
  return { names: [['default', name]], inferenceMode: !options.isTrainable, strict: options.strict ?? false, seed: 0 }
}

/** PEFT's classes by `task_type`; they differ in name only, since the architecture decides what a model computes. */
export class PeftModelForCausalLM extends PeftModel {}
export class PeftModelForSeq2SeqLM extends PeftModel {}
export class PeftModelForSequenceClassification extends PeftModel {}
export class PeftModelForTokenClassification extends PeftModel {}
export class PeftModelForQuestionAnswering extends PeftModel {}
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
