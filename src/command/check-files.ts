/** Whether what arguments name is there, before anything is loaded, fetched or written. */
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { ID } from '../hub/options.js'
import { invalid, nearest } from '../options.js'
import { printable } from '../text.js'
import type { Given } from './parse.js'

/** Fails with ERR_INVALID_CONFIG for what is missing, with the nearest name that is there, and for folders that cannot be written. */
export function checkFiles(command: string, args: Given): void {
  const list = (name: string) => (args[name] ?? []) as string[]
  if (command === 'inspect') {
    if (list('folders').length === 0) throw invalid('folders', 'inspect: which folder?')
    list('folders').forEach(folder => present('folders', folder, false))
  }
  if (typeof args.model === 'string') checkModel(command, args.model)
  for (const adapter of list('adapters')) present('adapters', adapter.replace(/^[\w.-]+=(?=.)/, ''), true)
  for (const name of ['dataset', 'val_dataset']) list(name).forEach(source => present(name, source.replace(/#\d+$/, ''), true))
  list('reward_funcs').forEach(file => present('reward_funcs', file, false))
  for (const name of ['resume_from_checkpoint', 'template'] as const) {
    const value = args[name]
    if (typeof value === 'string' && (name !== 'template' || value.endsWith('.jinja'))) present(name, value, false)
  }
  const output = args.output_dir ?? (command === 'sft' || command === 'pt' || command === 'rlhf' ? 'output' : args.result_path)
  if (typeof output === 'string' && args.resume_from_checkpoint === undefined) writable(args.output_dir === undefined && args.result_path !== undefined ? 'result_path' : 'output_dir', output)
}

function checkModel(command: string, model: string): void {
  present('model', model, true)
  if (!existsSync(model) || command === 'inspect') return
  if (!statSync(model).isDirectory()) throw invalid('model', `--model: ${printable(model)}: not a folder`)
  if (existsSync(join(model, 'config.json'))) return
  if (existsSync(join(model, 'adapter_config.json'))) throw invalid('model', `--model: ${printable(model)}: this is an adapter and no model; give it as --adapters, and its base as --model`)
  throw invalid('model', `--model: ${printable(model)}: there is no config.json`)
}

/** Refuses a path at which nothing is; what may be an id of a hub is let through where one counts. */
function present(option: string, path: string, hub: boolean): void {
  if (path === '') throw invalid(option, `--${option}: a path that is not empty`)
  if (existsSync(path) || /[*?{]/.test(path)) return
  const likelyFile = isAbsolute(path) || /^\.{0,2}[\\/]/.test(path) || /\.(jsonl?|csv|tsv|txt|parquet|gz)$/i.test(path) || existsSync(path.split('/')[0])
  if (hub && !likelyFile && ID.test(path)) return
  const near = sibling(path)
  throw invalid(option, `--${option}: ${printable(path)}: no such file or folder${near ? `; did you mean ${near}?` : ''}`, near ? [near] : undefined)
}

function sibling(path: string): string | undefined {
  const folder = dirname(path)
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return undefined
  const near = nearest(basename(path), readdirSync(folder).slice(0, 1000))
  return near && join(folder, near)
}

/** Refuses a folder, yet to be made, whose nearest parent cannot be written. */
function writable(option: string, path: string): void {
  let at = resolve(path)
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  const why = statSync(at).isDirectory() ? notWritable(at) : at === resolve(path) && option === 'result_path' ? undefined : 'not a folder'
  if (why) throw invalid(option, `--${option}: ${printable(at)}: ${why}`)
}

function notWritable(folder: string): string | undefined {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    return undefined
  } catch {
    return 'cannot be written'
  }
}
