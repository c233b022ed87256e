/**
 * Runs one case in a process of its own, whose working directory is the case's folder, and prints what came of it as one line of JSON:
 *
 *   node dist/__test__/hostile/driver.js CALL ARGUMENTS [USER]
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { AutoModel, AutoTokenizer, LoRAConfig, type Model, Swift, type SwiftModel } from '../../index.js'
import type { Call, Outcome } from './case.js'
import type { Report } from './judge.js'

interface Arguments {
  adapter?: string
  adapter_name?: string | Record<string, string>
  save_to?: string
  model?: string
  tokenizer?: string
  dataset?: string
  text?: string
}

/** What a call has left to look at. */
interface Done {
  base?: Model
  tuned?: Model
}

const BASE = '../_base'
const IDS = [[1, 5, 9, 3]]
const own = Object.getOwnPropertyNames(Object.prototype).join()
const warnings: string[] = []

const base = () => AutoModel.fromPretrained(BASE)
const output = async (model: Model) => Array.from((await model.forward({ inputIds: IDS }, { grad: false })).logits!.dataSync() as Float32Array)

/** Modules that carry a LoRA's matrices. */
const adapted = (model: Model) => [...new Set(model.namedParameters().map(p => /(?:^|base_model\.model\.)((?:(?!base_model).)*)\.lora_A\./.exec(p.name)?.[1]).filter(name => name !== undefined))]

const calls: Record<Call, (given: Arguments, done: Done) => Promise<void>> = {
  async load_adapter({ adapter, adapter_name: adapterName, save_to }, done) {
    done.base = await base()
    done.tuned = await Swift.fromPretrained(done.base, adapter!, { adapterName })
    if (save_to !== undefined) await done.tuned.savePretrained(save_to)
  },
  async save_adapter({ adapter, adapter_name: name, save_to }, done) {
    done.base = await base()
    const config = () => ({ [name as string]: new LoRAConfig({ r: 4, targetModules: ['q_proj', 'v_proj'], initLoraWeights: false }) })
    const tuned = await (adapter === undefined ? Swift.prepareModel(done.base, config()) : Swift.fromPretrained(done.base, adapter)) as SwiftModel
    const before = await output(tuned)
    await tuned.savePretrained(save_to!)
    const again = await Swift.fromPretrained(await base(), save_to!)
    const after = await output(again)
    if (before.some((v, i) => v !== after[i])) throw new Error('what was loaded is not what was saved')
  },
  async load_model({ model }) {
    await output(await AutoModel.fromPretrained(model!))
  },
  async load_tokenizer({ tokenizer, text }) {
    (await AutoTokenizer.fromPretrained(dirname(tokenizer!))).encode(text!)
  },
  async load_dataset({ dataset }) {
    const { loadDataset } = await import('../../index.js') as unknown as { loadDataset(path: string, options: { strict: true }): AsyncIterable<unknown> }
    for await (const _ of loadDataset(dataset!, { strict: true })) void _
  },
  async convert_to_peft({ adapter, save_to }) {
    await Swift.saveToPeftFormat(adapter!, save_to!)
  },
}

/** Whether the base, without what a failed call may have left active, gives what a fresh one gives. */
async function changed(model: Model): Promise<boolean> {
  const [now, fresh] = [await output(model), await output(await base())]
  return now.some((v, i) => v !== fresh[i])
}

/** A valid load and a pass. */
async function alive(): Promise<boolean> {
  try {
    return (await output(await base())).every(Number.isFinite)
  } catch {
    return false
  }
}

function cpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** The most that was resident, in MiB; what the parent had does not count. */
function memory(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS / 1024
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024
}

async function main(what: Call, given: Arguments): Promise<void> {
  let [outcome, message, code]: [Outcome, string, string | undefined] = ['ok', '', undefined]
  const done: Done = {}
  try {
    await calls[what](given, done)
  } catch (error) {
    [outcome, message, code] = ['error', String((error as Error).message), (error as { code?: string }).code]
  }
  // Warnings are told at the next turn of the loop.
  await new Promise(resolve => setImmediate(resolve))
  if (outcome === 'ok' && warnings.length) outcome = 'warning'
  const report: Report = {
    outcome, code, message, warnings, alive: await alive(), cpu: cpu(), memory: memory(),
    polluted: Object.getOwnPropertyNames(Object.prototype).join() !== own || 'polluted' in {},
    baseChanged: outcome === 'error' && done.base ? await changed(done.base) : false,
    modules: done.tuned && adapted(done.tuned),
  }
  // The form that other programs read has its own names.
  console.log(JSON.stringify({ ...report, kind: null, base_changed: report.baseChanged }))
}

process.removeAllListeners('warning')
process.on('warning', warning => warnings.push(warning.message))
Object.assign(process.env, { HF_HUB_OFFLINE: '1', USE_HF: '1', HF_HUB_CACHE: resolve('../cache'), HF_ENDPOINT: 'http://127.0.0.1:9' })
const user = Number(process.argv[4] ?? 0)
if (user !== 0) {
  process.setgroups!([])
  process.setgid!(user)
  process.setuid!(user)
}
void main(process.argv[2] as Call, JSON.parse(process.argv[3]))
