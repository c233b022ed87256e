/** The files that a dataset is read from: a file, a folder, a pattern, a repository of a hub. */
import { existsSync, statSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { SwiftTunersError } from '../errors.js'
import { ID } from '../hub/options.js'
import type { HubOptions } from '../hub/options.js'
import { snapshotDataset } from '../hub.js'
import { invalid } from '../options.js'
import { printable } from '../text.js'
import { globBase, globRegExp, isGlob } from './glob.js'
import { ofSplit, splitOf } from './splits.js'

/** Endings of files that can be read. */
export const DATA_FILE = /\.(jsonl|ndjson|json|csv|tsv|txt|parquet)(\.gz)?$/i
const ENDINGS = '.jsonl, .ndjson, .json, .csv, .tsv, .txt or .parquet (and .gz of them)'
/** What `datasets` writes beside its files. */
const METADATA = /(^|\/)(dataset_infos?|dataset_dict|state)\.json$/

/** Which files of a folder or repository. */
export interface FileOptions extends HubOptions {
  /** Patterns of the files' paths, such as `data/*.parquet`. Default: all of one kind that belong to the split. */
  files?: string | string[]
  /**
   * Of a folder or repository: the files whose names have it (`train-00000-of-00002.parquet`, `dev.jsonl`, `test/rows.csv`). Default: all
   * files where none names a split, else `train`.
   */
  split?: string
}

const failed = (path: string, problem: string) => new SwiftTunersError('ERR_IO', `${printable(path)}: ${problem}`, { details: { path } })

/** The paths that a source stands for, in their order. */
export async function filesOf(source: string, options: FileOptions): Promise<string[]> {
  const { files, split, ...hub } = options
  const only = (what: string) => {
    if (files !== undefined || split !== undefined) throw invalid(files !== undefined ? 'files' : 'split', `loadDataset: ${files !== undefined ? 'files' : 'split'}: ${printable(source)} is ${what}; the option is for folders and hubs`)
  }
  if (hub.hub === undefined && existsSync(source)) {
    if (statSync(source).isDirectory()) return chosenOf(await walk(source), options, source).map(path => join(source, path))
    only('a file')
    return [readable(source)]
  }
  if (hub.hub === undefined && isGlob(source)) {
    only('a pattern')
    const { folder, rest } = globBase(source)
    const matches = globRegExp(rest)
    const found = (await walk(folder)).filter(path => matches.test(path))
    if (found.length === 0) throw failed(source, 'no file is called so')
    return found.map(path => readable(join(folder, path)))
  }
  if (!ID.test(source) || source.includes('..') || (hub.hub === undefined && (!source.includes('/') || DATA_FILE.test(source)))) throw failed(source, 'no such file or folder')
  try {
    const folder = await snapshotDataset(source, hub, paths => chosenOf(paths, options, source))
    return chosenOf(await walk(folder), options, source).map(path => join(folder, path))
  } catch (error) {
    if (!(error instanceof SwiftTunersError) || error.code !== 'ERR_HUB' || hub.hub !== undefined) throw error
    throw new SwiftTunersError('ERR_HUB', `${error.message}; there is no file or folder of that name either`, { cause: error })
  }
}

const patternsOf = (files: string | string[] | undefined) => (files === undefined ? undefined : [files].flat().map(globRegExp))

function readable(path: string): string {
  if (DATA_FILE.test(path)) return path
  throw new SwiftTunersError('ERR_DATASET', `${printable(path)}: expected a file that ends in ${ENDINGS}`, { details: { path } })
}

/** Those of a folder's files that belong together: of one kind, of one split. `name` is what errors call the folder. */
function chosenOf(paths: string[], { files, split }: FileOptions, name: string): string[] {
  const all = paths.filter(path => DATA_FILE.test(path) && !METADATA.test(path))
  const patterns = patternsOf(files)
  let chosen = patterns ? all.filter(path => patterns.some(pattern => pattern.test(path))) : all
  const listed = (paths: string[]) => paths.slice(0, 8).map(printable).join(', ') + (paths.length > 8 ? `, … (${paths.length})` : '')
  if (chosen.length === 0) throw failed(name, patterns ? `no file matches ${[files].flat().join(', ')}; there are ${listed(all) || 'none'}` : `there is no file that ends in ${ENDINGS}`)
  const splits = [...new Set(chosen.flatMap(path => splitOf(path) ?? []))]
  if (split !== undefined || (!patterns && splits.length > 0)) {
    const wanted = split ?? 'train'
    const before = chosen
    chosen = ofSplit(chosen, wanted)
    if (chosen.length === 0) throw failed(name, `there is no split ${printable(wanted)}; ${splits.length > 0 ? `give one of ${splits.map(printable).join(', ')} as the option split` : `the files are ${listed(before)}`}`)
  }
  if (!patterns) {
    const endings = (paths: string[]) => [...new Set(paths.map(path => DATA_FILE.exec(path)![1].toLowerCase()))].sort()
    // Licences and notes.
    if (endings(chosen).length > 1) chosen = chosen.filter(path => !/\.txt(\.gz)?$/i.test(path))
    const kinds = endings(chosen)
    if (kinds.length > 1) throw failed(name, `there are files of several kinds (${kinds.join(', ')}), which may hold the same rows; name those you want with the option files`)
  }
  return chosen
}

/** Regular files below a folder by their paths with slashes, sorted; links to files count, hidden ones do not. */
async function walk(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch((cause: Error) => {
    throw new SwiftTunersError('ERR_IO', `${printable(folder)}: ${cause.message}`, { cause, details: { path: folder } })
  })
  const out: string[] = []
  for (const entry of entries) {
    const path = relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/')
    if (path.split('/').some(part => part.startsWith('.'))) continue
    const isFile = entry.isFile() || (entry.isSymbolicLink() && await stat(join(folder, path)).then(s => s.isFile(), () => false))
    if (isFile) out.push(path)
  }
  return out.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
}
