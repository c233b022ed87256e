/** Options in files. */
import { existsSync } from 'node:fs'
import { dirname, extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SwiftTunersError } from '../errors.js'
import { invalid, isObject } from '../options.js'
import { readRegular } from '../regular-file.js'
import type { OptionGroup } from './argument.js'
import type { Given } from './parse.js'

/** What a file of options says: JSON, YAML by its ending, or what a module exports by default. */
export async function readConfig(file: string): Promise<Given> {
  const ending = extname(file).toLowerCase()
  const value = ['.mjs', '.cjs', '.js'].includes(ending) ? await exported(file) : await read(file, await readRegular(file), ending)
  if (!isObject(value)) throw invalid('config', `--config: ${file}: expected an object of options`)
  return value as Given
}

async function exported(file: string): Promise<unknown> {
  const module = await import(pathToFileURL(resolve(file)).href) as { default?: unknown }
  return module.default
}

async function read(file: string, text: string, ending: string): Promise<unknown> {
  try {
    return ending === '.yaml' || ending === '.yml' ? (await import('yaml')).parse(text) : JSON.parse(text)
  } catch (cause) {
    throw new SwiftTunersError('ERR_INVALID_CONFIG', `${file}: ${String((cause as Error).message).split('\n')[0]}`, { cause, details: { path: file } })
  }
}

/** The file that says how a folder came to be: beside the weights, or above, as a run's checkpoints have it. */
export function argsFile(folder: string): string | undefined {
  return [join(folder, 'args.json'), join(dirname(resolve(folder)), 'args.json')].find(file => existsSync(file))
}

/** Of what args.json says, the options among `names` that the command has; nothing where there is none. */
export async function savedArgs(folder: string, names: readonly string[], group: OptionGroup): Promise<Given> {
  const file = argsFile(folder)
  if (file === undefined) return {}
  const saved = await readConfig(file)
  return Object.fromEntries(Object.entries(saved).filter(([name, value]) => names.includes(name) && Object.hasOwn(group, name) && value !== null && group[name].argument.kind.accepts(value)))
}
