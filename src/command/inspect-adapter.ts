/** What `inspect` tells of an adapter: what it is, and whether it is sound. */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readSafetensors } from '../../index.js'
import { readConfig } from './config-file.js'
import { table } from './print.js'
import { type StoredTensor, readHeader, storedTensors } from './safetensors-header.js'
import { bytes, short } from './sizes.js'

interface AdapterReport {
  kind: 'adapter'
  folder: string
  tuner: string
  base: string | null
  /** The fields that say most. */
  config: Record<string, unknown>
  parameters: number
  size: number
  /** Tensors of the same last names and shapes. */
  tensors: { name: string; count: number; shape: number[]; dtype: string }[]
  /** What is wrong with it. */
  problems: string[]
  /** What may be as it should. */
  notes: string[]
}

const TOLD = ['r', 'lora_alpha', 'lora_dropout', 'target_modules', 'use_dora', 'use_rslora', 'bias', 'modules_to_save', 'task_type', 'num_virtual_tokens', 'init_r', 'target_r', 'adapter_length', 'dim']

export async function adapterReport(folder: string, { model }: { model?: string }): Promise<AdapterReport> {
  const config = await readConfig(join(folder, 'adapter_config.json'))
  const base = typeof config.base_model_name_or_path === 'string' && config.base_model_name_or_path !== '' ? config.base_model_name_or_path : null
  const file = join(folder, 'adapter_model.safetensors')
  const report: AdapterReport = {
    kind: 'adapter', folder, tuner: String(config.swift_type ?? config.peft_type ?? 'unknown'), base,
    config: Object.fromEntries(TOLD.filter(name => config[name] !== undefined && config[name] !== null && config[name] !== false && String(config[name]) !== '').map(name => [name, config[name]])),
    parameters: 0, size: 0, tensors: [], problems: [], notes: [],
  }
  if (!existsSync(file)) {
    report.problems.push(existsSync(join(folder, 'adapter_model.bin')) ? 'the weights are in adapter_model.bin, which inspect does not read' : 'there is no adapter_model.safetensors')
    return report
  }
  const stored = readHeader(file)
  report.parameters = stored.reduce((n, t) => n + t.numel, 0)
  report.size = stored.reduce((n, t) => n + t.size, 0)
  report.tensors = kinds(stored)
  await health(file, report)
  const against = model ?? base
  if (against !== null && existsSync(against)) compare(stored, against, report)
  else report.notes.push(`not compared with its base: ${against === null ? 'it names none' : `${against} is no folder here`}; --model names one`)
  return report
}

/** `lora_A.weight [8, 256]`, how often. */
function kinds(stored: StoredTensor[]): AdapterReport['tensors'] {
  const out = new Map<string, AdapterReport['tensors'][number]>()
  for (const { name, shape, dtype } of stored) {
    const last = name.split('.').slice(-3).join('.').replace(/^\d+\./, '')
    const key = `${last} ${shape.join()}`
    const known = out.get(key)
    if (known) known.count += 1
    else out.set(key, { name: last, count: 1, shape, dtype })
  }
  return [...out.values()]
}

/** Values that are no numbers, and parts that do nothing. */
async function health(file: string, report: AdapterReport): Promise<void> {
  const zero: string[] = []
  const last: string[] = []
  for (const [name, tensor] of Object.entries(await readSafetensors(file))) {
    const values = tensor.toDtype('f32').dataSync()
    let [odd, most] = [0, 0]
    for (const value of values as Float32Array) {
      if (!Number.isFinite(value)) odd += 1
      else if (Math.abs(value) > most) most = Math.abs(value)
    }
    if (odd > 0) report.problems.push(`${name}: ${odd} of ${values.length} values are NaN or infinite`)
    if (odd === 0 && most === 0) zero.push(name)
    if (/lora_B|lora_embedding_B/.test(name)) last.push(name)
    tensor.dispose()
  }
  if (last.length > 0 && last.every(name => zero.includes(name))) report.problems.push('it has no effect: B is zero everywhere, as before training')
  else if (last.length === 0 && zero.length === report.tensors.reduce((n, t) => n + t.count, 0)) report.problems.push('it has no effect: all values are zero')
  else if (zero.length > 0) report.notes.push(`${zero.length} tensors are zero, such as ${zero[0]}`)
}

/** Whether the LoRAs fit a base's layers. */
function compare(stored: StoredTensor[], base: string, report: AdapterReport): void {
  const weights = new Map(storedTensors(base).map(t => [t.name, t.shape]))
  if (weights.size === 0) {
    report.notes.push(`not compared with its base: ${base} has no safetensors`)
    return
  }
  let fitting = 0
  for (const { name, shape } of stored) {
    const [, module, side] = /^(?:base_model\.model\.|base_model\.)?(.+)\.lora_([AB])(?:\.[^.]+)?\.weight$/.exec(name) ?? []
    if (module === undefined || shape.length !== 2) continue
    const key = [`${module}.weight`, ...weights.keys()].find(one => weights.has(one) && (one === `${module}.weight` || module.endsWith(`.${one.replace(/\.weight$/, '')}`)))
    const weight = key === undefined ? undefined : weights.get(key)
    const width = side === 'A' ? shape[1] : shape[0]
    if (weight === undefined) report.problems.push(`${module}: ${basename(base)} has no such layer`)
    // GPT-2's layers lie the other way round.
    else if (!weight.includes(width)) report.problems.push(`${module}: lora_${side} is [${shape.join(', ')}], and the base's weight [${weight.join(', ')}]`)
    else fitting += 1
  }
  if (fitting > 0) report.notes.push(`${fitting} LoRA matrices fit ${base}`)
  if (report.problems.length > 12) report.problems.splice(12, Infinity, `… ${report.problems.length - 12} more`)
}

export function adapterText(r: AdapterReport): string {
  return [
    r.folder,
    `${r.tuner} adapter, ${short(r.parameters)} parameters in ${bytes(r.size)}`,
    `  base: ${r.base ?? 'it names none'}`,
    ...Object.entries(r.config).map(([name, value]) => `  ${name}: ${Array.isArray(value) ? value.join(' ') : String(value)}`),
    '', table([['tensor', 'count', 'shape', 'type'], ...r.tensors.map(t => [t.name, String(t.count), `[${t.shape.join(', ')}]`, t.dtype])]), '',
    ...r.notes, ...(r.problems.length === 0 ? ['sound: no NaN, and it has an effect'] : r.problems.map(problem => `PROBLEM: ${problem}`)),
  ].join('\n')
}
