import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { PeftConfig, SwiftConfig } from './configs.js'
import { type DType, floats } from './dtype.js'
import { native, nativeAsync, SwiftTunersError, warn } from './errors.js'
import { type HubOptions, resolveModel } from './hub.js'
import { HUB } from './hub/options.js'
import { loadAdapters, warnOfLoads, warnOfSurplus } from './loading.js'
import { Model, wrap } from './model.js'
import * as binding from './native/binding.js'
import {
  boolean, checkArgument, checkOptions, either, instance, isObject, list, type OptionTable, path, record, seed, shown, signal, string, text,
} from './options.js'
import { PeftModel } from './peft-model.js'
import { promptTexts } from './prompt-texts.js'
import { SAVE, SAVE_HINTS, type SaveOptions, shardBytes } from './saving.js'
import { MERGE, type MergeOptions, NAMES, type SwiftModel, TunedModel } from './swift-model.js'

/** How adapters are attached. */
export interface PrepareOptions {
  /** Regular expressions of base parameters to train and save beside the tuners. */
  extraStateKeys?: string[]
  /** Attaches the adapters frozen. */
  inferenceMode?: boolean
  /** Seed of dropout, noise and the tuners' initial values: those that Python has after `torch.manual_seed(seed)`. */
  seed?: number
  /** PEFT only; SWIFT names adapters by the config record's keys. Default 'default'. */
  adapterName?: string
  /** Ends it; the model stays as it was. */
  signal?: AbortSignal
}

/** Which adapters of a folder are loaded, and how. */
export interface FromPretrainedOptions extends HubOptions {
  /** One, several, or { saved name: new name }; all tuners of the directory when absent. */
  adapterName?: string | string[] | Record<string, string>
  /** Default true: the tuners are loaded frozen; false leaves them trainable. */
  inferenceMode?: boolean
  /** Missing or surplus tensors become an error (ERR_CHECKPOINT_MISMATCH) and not a warning. */
  strict?: boolean
}

/** What is merged file to file, and how it is saved. */
export interface MergeFilesOptions extends Omit<FromPretrainedOptions, 'inferenceMode'>, SaveOptions {
  /** Default: as stored. */
  dtype?: DType
}

/** The same, and how the result is saved. */
export interface SaveMergedOptions extends MergeOptions, SaveOptions {}

/** Which adapters are merged for good. */
export interface SwiftMergeOptions {
  /** One or several. Default: the active ones. */
  adapterName?: string | string[]
}

const PREPARE: OptionTable<PrepareOptions> = { extraStateKeys: list(string), inferenceMode: boolean, seed, adapterName: text, signal }
const LOAD: OptionTable<FromPretrainedOptions> = {
  ...HUB,
  adapterName: { ...either(NAMES, record(text)), expected: 'an adapter name, a list of them, or an object { savedName: newName } of names that are not empty' },
  inferenceMode: boolean,
  strict: boolean,
}
const { inferenceMode: _, ...FILES } = LOAD
const MERGE_FILES: OptionTable<MergeFilesOptions> = { ...FILES, ...SAVE, dtype: floats }
const SAVE_MERGED: OptionTable<SaveMergedOptions> = { ...SAVE, ...MERGE }
const UNLOAD: OptionTable<SwiftMergeOptions> = { adapterName: NAMES }

const LOAD_HINTS = { isTrainable: 'inferenceMode: false leaves the tuners trainable' }
const MODEL = instance(Model, 'a Model')
const TUNED = instance(TunedModel, 'a SwiftModel or a PeftModel')

/** SWIFT's entry points. */
export class Swift {
  /**
   * Attaches tuners: a SwiftConfig, or named SwiftConfigs, to a Model or SwiftModel; a PeftConfig gives a PeftModel. May be
   * called again. New adapters are active and trainable at once, the base is frozen at the first call; when anything fails
   * the model stays as it was.
   */
  static prepareModel(model: Model, config: PeftConfig, options?: PrepareOptions): Promise<PeftModel>
  static prepareModel(model: Model, config: SwiftConfig | Record<string, SwiftConfig>, options?: PrepareOptions): Promise<SwiftModel>
  static async prepareModel(model: Model, config: PeftConfig | SwiftConfig | Record<string, SwiftConfig | PeftConfig>, options: PrepareOptions = {}): Promise<SwiftModel | PeftModel> {
    checkArgument('prepareModel', 'model', model, MODEL)
    const { extraStateKeys = [], inferenceMode = false, seed = 0, adapterName = 'default', signal } = checkOptions('prepareModel', options, PREPARE)
    const one = config instanceof SwiftConfig || config instanceof PeftConfig
    if (!isObject(config)) throw new SwiftTunersError('ERR_INVALID_ARGUMENT', `prepareModel: config: expected a configuration, or an object of them by name, found ${shown(config)}`)
    const entries: [string, unknown][] = one ? [[adapterName, config]] : Object.entries(config)
    const bad = entries.find(([, c]) => !(c instanceof SwiftConfig || c instanceof PeftConfig))
    if (bad) throw new SwiftTunersError('ERR_INVALID_CONFIG', `prepareModel: ${JSON.stringify(bad[0])} is neither a SwiftConfig nor a PeftConfig`)
    if (entries.length === 0) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'prepareModel: no configuration was given')
    const texts = await promptTexts(entries.map(([, c]) => c))
    const settings = { extraStateKeys, inferenceMode, seed, texts }
    const skipped = await withSignal(signal, flag =>
      model.native.prepare(entries.map(([n]) => n), entries.map(([, c]) => JSON.stringify(c)), settings, threadId, flag))
    for (const name of skipped) warn(`prepareModel: adapter ${JSON.stringify(name)} exists already and was left as it is`)
    return wrap(native(() => model.native.alias())) as SwiftModel | PeftModel
  }

  /**
   * Loads the tuners of a directory (or hub id) in SWIFT's or PEFT's layout. What happened to each tensor is in
   * `loadReports`; missing, surplus and odd tensors are also warned about.
   */
  static async fromPretrained(model: Model, modelId: string, options: FromPretrainedOptions = {}): Promise<SwiftModel | PeftModel> {
    checkArgument('Swift.fromPretrained', 'model', model, MODEL)
    const settings = loadSettings(checkOptions('Swift.fromPretrained', options, LOAD, LOAD_HINTS))
    await loadAdapters('Swift.fromPretrained', model.native, modelId, settings, options)
    if (settings.inferenceMode) native(() => model.native.train(false))
    return wrap(native(() => model.native.alias())) as SwiftModel | PeftModel
  }

  /**
   * Merges the LoRAs of an adapter directory (or hub id) into a model directory (or hub id) and writes the result as a plain
   * model with its tokenizer, file to file: one tensor is in memory at a time. Of several adapters all are merged, of PEFT's
   * the first, unless `adapterName` chooses. Writes whole or not at all; `outputDir` may not be one of the inputs.
   */
  static async mergeFiles(model: string, adapters: string, outputDir: string, options: MergeFilesOptions = {}): Promise<void> {
    const given = checkOptions('mergeFiles', options, MERGE_FILES, SAVE_HINTS)
    checkArgument('mergeFiles', 'outputDir', outputDir, path)
    const [from, tuners] = [await resolveModel('mergeFiles', model, given), await resolveModel('mergeFiles', adapters, given)]
    const settings = { dtype: given.dtype, safe: given.safeSerialization ?? true, maxShard: shardBytes(given.maxShardSize) }
    const report = await withSignal(given.signal, flag =>
      binding.mergeFiles(from, tuners, outputDir, { ...loadSettings(given), inferenceMode: true }, settings, flag))
    warnOfSurplus(from, report.surplus)
    warnOfLoads(report.loads)
  }

  /** Adds the active (or named) LoRAs to the weights. Merging again changes nothing; `unmerge` restores bit for bit. */
  static async merge(model: SwiftModel | PeftModel, options: MergeOptions = {}): Promise<void> {
    checkArgument('merge', 'model', model, TUNED)
    const { adapterNames } = checkOptions('merge', options, MERGE)
    const merged = await nativeAsync(() => model.native.merge(adapterNames, threadId))
    if (!merged) warn('merge: none of the active adapters changes weights, and nothing was merged')
  }

  /** Takes merged LoRAs out of the weights again, bit for bit. */
  static async unmerge(model: SwiftModel | PeftModel): Promise<void> {
    checkArgument('unmerge', 'model', model, TUNED)
    await nativeAsync(() => model.native.unmerge())
  }

  /** Writes the base with the active (or named) LoRAs merged, as a plain model; this one stays as it is. */
  static async saveMerged(model: SwiftModel | PeftModel, directory: string, options: SaveMergedOptions = {}): Promise<void> {
    checkArgument('saveMerged', 'model', model, TUNED)
    checkArgument('saveMerged', 'directory', directory, path)
    const { adapterNames, safeSerialization = true, maxShardSize, signal } = checkOptions('saveMerged', options, SAVE_MERGED, SAVE_HINTS)
    await withSignal(signal, flag =>
      model.native.saveMerged(directory, adapterNames, safeSerialization, shardBytes(maxShardSize), threadId, flag))
  }

  /** Merges for good and removes the LoRA layers; with names only those go, and other LoRAs stay. */
  static async mergeAndUnload(model: SwiftModel | PeftModel, options: SwiftMergeOptions = {}): Promise<void> {
    checkArgument('mergeAndUnload', 'model', model, TUNED)
    const { adapterName } = checkOptions('mergeAndUnload', options, UNLOAD)
    const names = adapterName === undefined ? undefined : [adapterName].flat()
    if (model instanceof PeftModel) {
      await model.mergeAndUnload(names ? { adapterNames: names } : {})
      return
    }
    await nativeAsync(() => model.native.mergeAndUnload(names, threadId))
  }

  /**
   * Rewrites a SWIFT checkpoint of LoRAs as PEFT reads it (`outputDir` may be `ckptDir`). Refuses extra states, other tuners
   * and merged linears with ERR_NOT_CONVERTIBLE; then nothing is written.
   */
  static async saveToPeftFormat(ckptDir: string, outputDir: string): Promise<void> {
    checkArgument('saveToPeftFormat', 'ckptDir', ckptDir, path)
    checkArgument('saveToPeftFormat', 'outputDir', outputDir, path)
    await nativeAsync(() => binding.saveToPeftFormat(ckptDir, outputDir))
  }
}

const loadSettings = (options: FromPretrainedOptions) => ({
  names: namePairs(options.adapterName),
  inferenceMode: options.inferenceMode ?? true,
  strict: options.strict ?? false,
  seed: 0,
})

function namePairs(names: FromPretrainedOptions['adapterName']): string[][] | undefined {
  if (names === undefined || names === null) return undefined
  if (typeof names === 'string') return [[names, names]]
  if (Array.isArray(names)) return names.map(n => [n, n])
  return Object.entries(names)
}
