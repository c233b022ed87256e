/** What `inspect` tells of a model's folder, from its config and the headers of its weights. */
import { join } from 'node:path'
import { treeLines } from '../inspect/model.js'
import { readConfig } from './config-file.js'
import { table } from './print.js'
import { bytes, short } from './sizes.js'
import { type StoredTensor, storedTensors } from './safetensors-header.js'

/** Layers that an adapter may stand on, by the ends of their names. */
export interface Target {
  name: string
  count: number
  /** Of the weight, `[out, in]`; of all layers of this name where they differ. */
  shapes: number[][]
  /** Elements of all of them. */
  numel: number
  /** Whether all-linear takes them. */
  allLinear: boolean
}

interface ModelReport {
  kind: 'model'
  folder: string
  architecture: string
  context: number | null
  parameters: number
  size: number
  dtypes: string[]
  tree: string[]
  targets: Target[]
  /** What --target_modules or --target_regex matches. */
  matched: { pattern: string; modules: string[] } | null
}

const isHead = (module: string) => /(^|\.)(lm_head|score|classifier|embed_out|qa_outputs)$/.test(module)
const isEmbedding = (module: string) => /embed|(^|\.)wte$|(^|\.)wpe$|shared$/.test(module)

export async function modelReport(folder: string, args: { target_modules: string[]; target_regex?: string }): Promise<ModelReport> {
  const config = await readConfig(join(folder, 'config.json'))
  const tensors = storedTensors(folder)
  const linear = linears(tensors)
  return {
    kind: 'model', folder,
    architecture: String([config.architectures ?? config._class_name ?? config.model_type].flat()[0] ?? 'unknown'),
    context: typeof config.max_position_embeddings === 'number' ? config.max_position_embeddings : null,
    parameters: tensors.reduce((n, t) => n + t.numel, 0),
    size: tensors.reduce((n, t) => n + t.size, 0),
    dtypes: [...new Set(tensors.map(t => t.dtype))],
    tree: tree(tensors),
    targets: targets(linear),
    matched: matched(linear.map(t => moduleOf(t.name)), args),
  }
}

const moduleOf = (name: string): string => name.replace(/\.weight$/, '')

/** Weights of linear layers, as far as names and shapes tell. */
function linears(tensors: StoredTensor[]): StoredTensor[] {
  return tensors.filter(({ name, shape }) => name.endsWith('.weight') && shape.length === 2 && !isEmbedding(moduleOf(name)))
}

function targets(linear: StoredTensor[]): Target[] {
  const byName = grouped(linear)
  return [...byName].map(([name, all]) => ({
    name, count: all.length, shapes: [...new Map(all.map(t => [t.shape.join(), t.shape])).values()], numel: all.reduce((n, t) => n + t.numel, 0), allLinear: !isHead(moduleOf(all[0].name)),
  }))
}

function grouped(linear: StoredTensor[]): Map<string, StoredTensor[]> {
  const out = new Map<string, StoredTensor[]>()
  for (const tensor of linear) {
    const name = moduleOf(tensor.name).split('.').at(-1)!
    out.set(name, [...out.get(name) ?? [], tensor])
  }
  return out
}

function matched(modules: string[], { target_modules: names, target_regex: regex }: { target_modules: string[]; target_regex?: string }): ModelReport['matched'] {
  if (regex !== undefined) {
    const whole = new RegExp(`^(?:${regex})$`)
    return { pattern: regex, modules: modules.filter(name => whole.test(name)) }
  }
  if (names.length === 1 && names[0] === 'all-linear') return null
  return { pattern: names.join(' '), modules: modules.filter(module => names.some(name => module === name || module.endsWith(`.${name}`))) }
}

function tree(tensors: StoredTensor[]): string[] {
  const modules = new Set<string>()
  for (const { name } of tensors) {
    const path = name.split('.').slice(0, -1)
    path.forEach((_, i) => modules.add(path.slice(0, i + 1).join('.')))
  }
  return treeLines([...modules], tensors.map(t => ({ ...t, requiresGrad: false })))
}

export function modelText(r: ModelReport): string {
  const rank = 8
  const rows = r.targets.map(t => [t.allLinear ? t.name : `${t.name} *`, String(t.count), t.shapes.map(s => `[${s.join(', ')}]`).join(' '), short(t.numel), short(t.shapes.length === 1 ? t.count * rank * (t.shapes[0][0] + t.shapes[0][1]) : 0) || ''])
  return [
    r.folder,
    `${r.architecture}, ${short(r.parameters)} parameters in ${bytes(r.size)} of ${r.dtypes.join(', ')}${r.context === null ? '' : `, context ${r.context}`}`,
    '', ...r.tree, '',
    'Linear layers, which --target_modules names; all-linear takes those without *:', '',
    table([['name', 'layers', 'shape', 'parameters', `LoRA r = ${rank}`], ...rows]),
    ...(r.matched === null ? [] : ['', `${r.matched.pattern}: ${r.matched.modules.length} modules${r.matched.modules.length > 0 ? ', such as' : ''}`, ...r.matched.modules.slice(0, 5).map(name => `  ${name}`)]),
  ].join('\n')
}
