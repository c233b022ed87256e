/**
 * Kinds of saves, each of which writes its number everywhere, so that a checkpoint says of which save its parts are.
 *
 * A kind works in a folder: what it saves to is `out/target`, and nothing else is in `out`.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { AutoModel, LoRAConfig, LoraConfig, type Model, Swift, type SwiftModel, Tensor } from '../../index.js'
import { base, numbers } from '../support.js'

export interface Kind {
  /** One save per process: `before` makes anew what `save` then changes, so that a process is not killed in it. */
  alone?: true
  /** What the save needs. */
  before?(folder: string, number: number): Promise<void>
  save(folder: string, number: number): Promise<void>
  /** The number of the save that is there, whole; a mixture is an error. */
  check(folder: string): Promise<number>
}

export const target = (folder: string) => join(folder, 'out/target')
const input = (folder: string, name: string) => join(folder, 'inputs', name)

const TARGETS = ['q_proj', 'v_proj']
const EXTRA = 'model.norm.weight'
const CONFIG = { model_type: 'llama', architectures: ['LlamaForCausalLM'], hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 96 }

/** Gives every parameter whose name passes this value. */
function fill(model: Model, value: number, passes: (name: string) => boolean = () => true): void {
  const named = model.namedParameters().filter(p => passes(p.name))
  model.loadStateDict(Object.fromEntries(named.map(p => [p.name, Tensor.zeros(p.shape).add(Tensor.from([value]))])), { strict: false })
}

/** The one value that all of these parameters have, and that was said elsewhere. */
function same(model: Model, said: number[], passes: (name: string) => boolean): number {
  const values = new Set(said)
  for (const { name } of model.namedParameters()) if (passes(name)) for (const value of numbers(model.parameter(name))) values.add(value)
  if (values.size !== 1) throw new Error(`a mixture of saves: ${[...values].slice(0, 5).join(', ')}`)
  return [...values][0]
}

const trained = (name: string) => name.includes('lora_') || name.endsWith(EXTRA)
const lora = (name: string) => name.includes('lora_')

/** Two adapters and extra states. */
async function swift(number: number): Promise<SwiftModel> {
  const config = () => new LoRAConfig({ r: 2, loraAlpha: number + 1, targetModules: TARGETS, initLoraWeights: false })
  const model = await Swift.prepareModel(await base(), { a: config(), b: config() }, { extraStateKeys: [EXTRA] })
  fill(model, number, trained)
  return model
}

async function checkSwift(folder: string): Promise<number> {
  const model = await Swift.fromPretrained(await base(), target(folder)) as SwiftModel
  if ([...model.adapters.keys()].join() !== 'a,b') throw new Error(`adapters ${[...model.adapters.keys()].join()}`)
  const said = [...model.adapters.values()].map(config => (config.toJSON() as { lora_alpha: number }).lora_alpha - 1)
  return same(model, said, trained)
}

async function peft(number: number): Promise<Model> {
  const model = await Swift.prepareModel(await base(), new LoraConfig({ r: 2, loraAlpha: number + 1, targetModules: TARGETS, initLoraWeights: false }))
  fill(model, number, lora)
  return model
}

/** One adapter, in either layout. */
async function checkOne(folder: string): Promise<number> {
  const model = await Swift.fromPretrained(await base(), target(folder))
  const { lora_alpha: alpha } = (('peftConfig' in model ? model.peftConfig : model.adapters).values().next().value!).toJSON() as { lora_alpha: number }
  return same(model, [alpha - 1], lora)
}

async function plain(number: number): Promise<Model> {
  const model = await AutoModel.fromConfig({ ...CONFIG, save_number: number })
  fill(model, number)
  return model
}

async function checkPlain(folder: string): Promise<number> {
  const model = await AutoModel.fromPretrained(target(folder))
  return same(model, [model.config.save_number as number], () => true)
}

/** A SWIFT checkpoint of one adapter, which can be converted. */
async function convertible(directory: string, number: number): Promise<void> {
  const model = await Swift.prepareModel(await base(), { default: new LoRAConfig({ r: 2, loraAlpha: number + 1, targetModules: TARGETS, initLoraWeights: false }) })
  fill(model, number, lora)
  rmSync(directory, { recursive: true, force: true })
  await model.savePretrained(directory)
}

export const KINDS: Record<string, Kind> = {
  swift: { save: async (folder, number) => (await swift(number)).savePretrained(target(folder)), check: checkSwift },
  peft: { save: async (folder, number) => (await peft(number)).savePretrained(target(folder)), check: checkOne },
  /** Onto the folder that was loaded. */
  'in-place': {
    async save(folder, number) {
      if (!existsSync(target(folder))) return (await swift(number)).savePretrained(target(folder))
      const model = await Swift.fromPretrained(await base(), target(folder), { inferenceMode: false })
      fill(model, number, trained)
      await model.savePretrained(target(folder))
    },
    async check(folder) {
      return same(await Swift.fromPretrained(await base(), target(folder)), [], trained)
    },
  },
  sharded: { save: async (folder, number) => (await plain(number)).savePretrained(target(folder), { maxShardSize: 16_000 }), check: checkPlain },
  /** File to file, of an adapter that adds nothing. */
  'merge-files': {
    async before(folder, number) {
      const model = await plain(number)
      await model.savePretrained(input(folder, 'base'))
      if (existsSync(input(folder, 'adapter'))) return
      const tuned = await Swift.prepareModel(model, new LoraConfig({ r: 2, targetModules: TARGETS }))
      await tuned.savePretrained(input(folder, 'adapter'))
    },
    save: folder => Swift.mergeFiles(input(folder, 'base'), input(folder, 'adapter'), target(folder), { maxShardSize: 16_000 }),
    check: checkPlain,
  },
  convert: {
    before: (folder, number) => convertible(input(folder, 'swift'), number),
    save: folder => Swift.saveToPeftFormat(input(folder, 'swift'), target(folder)),
    check: checkOne,
  },
  /** What was interrupted can be done again. */
  'convert-in-place': {
    alone: true,
    before: (folder, number) => convertible(target(folder), number),
    save: folder => Swift.saveToPeftFormat(target(folder), target(folder)),
    async check(folder) {
      const number = await checkOne(folder)
      if (!existsSync(join(target(folder), 'adapter_config.json'))) await Swift.saveToPeftFormat(target(folder), target(folder))
      if (existsSync(join(target(folder), 'default'))) throw new Error('the folder of the old layout is still there')
      if (await checkOne(folder) !== number) throw new Error('another number after converting again')
      return number
    },
  },
}

/** Makes the folder that a kind works in. */
export function prepared(folder: string): string {
  mkdirSync(join(folder, 'out'), { recursive: true })
  mkdirSync(join(folder, 'inputs'), { recursive: true })
  return folder
}
