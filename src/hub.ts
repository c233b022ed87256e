/**
 * Models by id: downloads from Hugging Face and ModelScope, kept in the layouts of `huggingface_hub` and `modelscope_hub`, so that
 * each side finds what the other has downloaded.
 */
import { statSync } from 'node:fs'
import { SwiftTunersError, warn } from './errors.js'
import { HuggingFace } from './hub/hugging-face.js'
import { ModelScope } from './hub/model-scope.js'
import { failed, HUB, type Hub, type HubOptions, ID, REVISION } from './hub/options.js'
import { datasetOf, type Kind, MODEL, Unreachable } from './hub/repository.js'
import { checkArgument, checkOptions, only, path } from './options.js'
import { printable } from './text.js'

export type { Hub, HubOptions } from './hub/options.js'

const flag = (name: string) => /^(1|true|yes|on)$/i.test(process.env[name] ?? '')

/**
 * A local directory as it is; a hub id as a directory of the cache, after downloading what is missing. `call` is whose argument it is, and
 * of the options those of hubs count.
 */
export async function resolveModel(call: string, directoryOrId: string, options: HubOptions = {}): Promise<string> {
  checkArgument(call, 'directory or hub id', directoryOrId, path)
  const name = printable(directoryOrId)
  const there = isDirectory(directoryOrId)
  if (there === false) throw new SwiftTunersError('ERR_IO', `${name}: not a directory`, { details: { path: directoryOrId } })
  if (there) return directoryOrId
  if (!ID.test(directoryOrId) || directoryOrId.includes('..')) {
    throw new SwiftTunersError('ERR_IO', `${name}: no such directory`, { details: { path: directoryOrId } })
  }
  try {
    return await snapshotDownload(directoryOrId, only(options, HUB))
  } catch (error) {
    if (!(error instanceof SwiftTunersError) || error.code !== 'ERR_HUB') throw error
    throw failed(`${name}: there is no such local folder (in ${process.cwd()}), and as a hub id: ${error.message}`, error.cause ?? error)
  }
}

/** Whether it is a folder; undefined when nothing is there. What may not be looked at, or is a link to itself, is an error and no hub id. */
function isDirectory(path: string): boolean | undefined {
  try {
    return statSync(path).isDirectory()
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new SwiftTunersError('ERR_IO', `${printable(path)}: ${message}`, { cause, details: { path } })
  }
}

/**
 * The files of a repository in the cache, downloaded where they are missing; resolves to the folder that holds them.
 *
 * Interrupted downloads go on where they stopped. Sizes and checksums are verified, and no path leaves the cache. When the hub
 * cannot be reached, what an earlier download left is used with a warning. Fails with ERR_HUB, naming repository and file.
 */
export async function snapshotDownload(id: string, options: HubOptions = {}): Promise<string> {
  checkArgument('snapshotDownload', 'id', id, path)
  return snapshot(id, checkOptions('snapshotDownload', options, HUB), MODEL)
}

/** @internal The same of a dataset's repository, of which the files that `choose` chooses count. */
export async function snapshotDataset(id: string, options: HubOptions, choose: (paths: string[]) => string[]): Promise<string> {
  return snapshot(id, options, datasetOf(choose))
}

async function snapshot(id: string, options: HubOptions, kind: Kind): Promise<string> {
  if (!ID.test(id) || id.includes('..')) throw failed(`${printable(id)}: no hub id`)
  const { revision } = options
  if (revision !== undefined && (!REVISION.test(revision) || revision.includes('..'))) {
    throw failed(`${id}: revision ${JSON.stringify(printable(revision))} is no branch, tag or commit`)
  }
  options.signal?.throwIfAborted()
  const name = options.hub ?? (flag('USE_HF') ? 'huggingface' : 'modelscope')
  const hub = name === 'huggingface' ? new HuggingFace(id, options, kind) : new ModelScope(id, options, kind)
  const offline = options.localFilesOnly ?? (name === 'huggingface' && flag('HF_HUB_OFFLINE'))
  if (!offline) {
    try {
      return await hub.download()
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason
      if (!(error instanceof Unreachable)) throw ofFiles(id, error)
      const folder = await cached(id, name, options, kind)
      if (!folder) throw failed(error.message, error.cause)
      warn(`${error.message}; using what is in ${folder}`)
      return folder
    }
  }
  const folder = await cached(id, name, options, kind)
  if (folder) return folder
  throw failed(`${id}: not in the cache ${hub.root}, and nothing may be downloaded`)
}

/** The folder of an earlier download: the chosen hub's, or the other's when none was chosen. */
async function cached(id: string, chosen: Hub, options: HubOptions, kind: Kind): Promise<string | undefined> {
  const hubs = [chosen]
  if (!options.hub && !options.cacheDirectory) hubs.push(chosen === 'huggingface' ? 'modelscope' : 'huggingface')
  for (const name of hubs) {
    const hub = name === 'huggingface' ? new HuggingFace(id, options, kind) : new ModelScope(id, options, kind)
    const folder = await hub.cached()
    if (folder) return folder
  }
  return undefined
}

/** What the system says of the cache's files, with a code. */
function ofFiles(id: string, error: unknown): unknown {
  const { syscall, message } = error as NodeJS.ErrnoException
  return error instanceof SwiftTunersError || syscall === undefined ? error : new SwiftTunersError('ERR_IO', `${id}: ${message}`, { cause: error })
}
