import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { PeftConfig, SwiftConfig } from './configs.js'
import { native, nativeAsync, SwiftTunersError, warn } from './errors.js'
import { type HubOptions, resolveModel } from './hub.js'
import { loadAdapters, warnOfLoads, warnOfSurplus } from './loading.js'
import { Model, wrap } from './model.js'
import type { DType } from './tensor.js'
import * as binding from './native/binding.js'
import { PeftModel } from './peft-model.js'
import { promptTexts } from './prompt-texts.js'
import { type SaveOptions, shardBytes } from './saving.js'
import { listed, SwiftModel } from './swift-model.js'

export interface PrepareOptions {
  /** Regular expressions of base parameters to train and save beside the tuners. */
  extraStateKeys?: string[]
  /** Attaches the adapters frozen. */
  inferenceMode?: boolean
  /** Seed of dropout, noise and the tuners' initial values: those that Python has after `torch.manual_seed(seed)`. */
  seed?: number
  /** PEFT only; SWIFT names adapters by the config record's keys. Default 'default'. */
  adapterName?: string
  signal?: AbortSignal
}

export interface FromPretrainedOptions extends HubOptions {
  /** One, several, or { saved name: new name }; all tuners of the directory when absent. */
  adapterName?: string | string[] | Record<string, string>
  /** Default true: the tuners are loaded frozen; false leaves them trainable. */
  inferenceMode?: boolean
  /** Missing or surplus tensors become an error (ERR_CHECKPOINT_MISMATCH) and not a warning. */
  strict?: boolean
}

export interface MergeFilesOptions extends Omit<FromPretrainedOptions, 'inferenceMode'>, SaveOptions {
  /** Default: as stored. */
  dtype?: DType
}

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
    if (!(model instanceof Model)) throw new TypeError('prepareModel: the first argument must be a Model')
    const one = config instanceof SwiftConfig || config instanceof PeftConfig
    const entries: [string, unknown][] = one ? [[options.adapterName ?? 'default', config]] : Object.entries(config ?? {})
    const bad = entries.find(([, c]) => !(c instanceof SwiftConfig || c instanceof PeftConfig))
    if (bad) throw new SwiftTunersError('ERR_INVALID_CONFIG', `prepareModel: ${JSON.stringify(bad[0])} is neither a SwiftConfig nor a PeftConfig`)
    if (entries.length === 0) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'prepareModel: no configuration was given')
    const texts = await promptTexts(entries.map(([, c]) => c))
    const settings = { extraStateKeys: options.extraStateKeys ?? [], inferenceMode: options.inferenceMode ?? false, seed: options.seed ?? 0, texts }
    const skipped = await withSignal(options.signal, flag =>
      model.native.prepare(entries.map(([n]) => n), entries.map(([, c]) => JSON.stringify(c)), settings, threadId, flag))
    for (const name of skipped) warn(`prepareModel: adapter ${JSON.stringify(name)} exists already and was left as it is`)
    return wrap(native(() => model.native.alias())) as SwiftModel | PeftModel
  }

  /**
   * Loads the tuners of a directory (or hub id) in SWIFT's or PEFT's layout. What happened to each tensor is in
   * `loadReports`; missing, surplus and odd tensors are also warned about.
   */
  static async fromPretrained(model: Model, modelId: string, options: FromPretrainedOptions = {}): Promise<SwiftModel | PeftModel> {
    if (!(model instanceof Model)) throw new TypeError('fromPretrained: the first argument must be a Model')
    const settings = loadSettings(options)
    await loadAdapters(model.native, modelId, settings, options)
    if (settings.inferenceMode) native(() => model.native.train(false))
    return wrap(native(() => model.native.alias())) as SwiftModel | PeftModel
  }

  /**
   * Merges the LoRAs of an adapter directory (or hub id) into a model directory (or hub id) and writes the result as a plain
   * model with its tokenizer, file to file: one tensor is in memory at a time. Of several adapters all are merged, of PEFT's
   * the first, unless `adapterName` chooses. Writes whole or not at all; `outputDir` may not be one of the inputs.
   */
  static async mergeFiles(model: string, adapters: string, outputDir: string, options: MergeFilesOptions = {}): Promise<void> {
    const [from, tuners] = [await resolveModel(model, options), await resolveModel(adapters, options)]
    const max = shardBytes(options.maxShardSize)
    const settings = { dtype: options.dtype, safe: options.safeSerialization ?? true, maxShard: max }
    const report = await withSignal(options.signal, flag =>
      binding.mergeFiles(from, tuners, String(outputDir), { ...loadSettings(options), inferenceMode: true }, settings, flag))
    warnOfSurplus(from, report.surplus)
    warnOfLoads(report.loads)
  }

  /** Adds the active (or named) LoRAs to the weights. Merging again changes nothing; `unmerge` restores bit for bit. */
  static async merge(model: SwiftModel | PeftModel, options: { adapterNames?: string[] } = {}): Promise<void> {
    await nativeAsync(() => model.native.merge(options.adapterNames, threadId))
  }

  static async unmerge(model: SwiftModel | PeftModel): Promise<void> {
    await nativeAsync(() => model.native.unmerge())
  }

  /** Writes the base with the active (or named) LoRAs merged, as a plain model; this one stays as it is. */
  static async saveMerged(model: SwiftModel | PeftModel, directory: string, options: SaveOptions & { adapterNames?: string[] } = {}): Promise<void> {
    const max = shardBytes(options.maxShardSize)
    await withSignal(options.signal, flag =>
      model.native.saveMerged(String(directory), options.adapterNames, options.safeSerialization ?? true, max, threadId, flag))
  }

  /** Merges for good and removes the LoRA layers; with names only those go, and other LoRAs stay. */
  static async mergeAndUnload(model: SwiftModel | PeftModel, options: { adapterName?: string | string[] } = {}): Promise<void> {
    const names = options.adapterName == null ? undefined : listed(options.adapterName)
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
    await nativeAsync(() => binding.saveToPeftFormat(String(ckptDir), String(outputDir)))
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
  if (Array.isArray(names)) return names.map(n => [String(n), String(n)])
  return Object.entries(names).map(([saved, renamed]) => [saved, String(renamed)])
}
