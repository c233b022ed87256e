/**
 * Models by id: downloads from Hugging Face and ModelScope, kept in the layouts of `huggingface_hub` and `modelscope_hub`, so that
 * each side finds what the other has downloaded.
 */
import { existsSync, statSync } from 'node:fs'
import { SwiftTunersError, warn } from './errors.js'
import { HuggingFace } from './hub/hugging-face.js'
import { ModelScope } from './hub/model-scope.js'
import { failed, type Hub, type HubOptions, ID, REVISION } from './hub/options.js'
import { Unreachable } from './hub/repository.js'
import { printable } from './text.js'

export type { Hub, HubOptions } from './hub/options.js'

const flag = (name: string) => /^(1|true|yes|on)$/i.test(process.env[name] ?? '')

/** A local directory as it is; a hub id as a directory of the cache, after downloading what is missing. */
export async function resolveModel(directoryOrId: string, options: HubOptions = {}): Promise<string> {
  if (typeof directoryOrId !== 'string' || directoryOrId === '') {
    throw new TypeError(`expected a directory or a hub id, found ${typeof directoryOrId}`)
  }
  if (existsSync(directoryOrId)) {
    if (!statSync(directoryOrId).isDirectory()) throw new SwiftTunersError('ERR_IO', `${directoryOrId}: not a directory`)
    return directoryOrId
  }
  if (!ID.test(directoryOrId) || directoryOrId.includes('..')) {
    throw new SwiftTunersError('ERR_IO', `${printable(directoryOrId)}: no such directory`)
  }
  return snapshotDownload(directoryOrId, options)
}

/**
 * The files of a repository in the cache, downloaded where they are missing; resolves to the folder that holds them.
 *
 * Interrupted downloads go on where they stopped. Sizes and checksums are verified, and no path leaves the cache. When the hub
 * cannot be reached, what an earlier download left is used with a warning. Fails with ERR_HUB, naming repository and file.
 */
export async function snapshotDownload(id: string, options: HubOptions = {}): Promise<string> {
  if (!ID.test(id) || id.includes('..')) throw failed(`${printable(id)}: no hub id`)
  const { revision } = options
  if (revision !== undefined && (!REVISION.test(revision) || revision.includes('..'))) {
    throw failed(`${id}: revision ${JSON.stringify(printable(revision))} is no branch, tag or commit`)
  }
  options.signal?.throwIfAborted()
  const name = options.hub ?? (flag('USE_HF') ? 'huggingface' : 'modelscope')
  if (name !== 'huggingface' && name !== 'modelscope') throw failed(`hub: expected modelscope or huggingface, found ${JSON.stringify(name)}`)
  const hub = name === 'huggingface' ? new HuggingFace(id, options) : new ModelScope(id, options)
  const offline = options.localFilesOnly ?? (name === 'huggingface' && flag('HF_HUB_OFFLINE'))
  if (!offline) {
    try {
      return await hub.download()
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason
      if (!(error instanceof Unreachable)) throw error
      const folder = await cached(id, name, options)
      if (!folder) throw failed(error.message, error.cause)
      warn(`${error.message}; using what is in ${folder}`)
      return folder
    }
  }
  const folder = await cached(id, name, options)
  if (folder) return folder
  throw failed(`${id}: not in the cache ${hub.root}, and nothing may be downloaded`)
}

/** The folder of an earlier download: the chosen hub's, or the other's when none was chosen. */
async function cached(id: string, chosen: Hub, options: HubOptions): Promise<string | undefined> {
  const hubs = [chosen]
  if (!options.hub && !options.cacheDirectory) hubs.push(chosen === 'huggingface' ? 'modelscope' : 'huggingface')
  for (const name of hubs) {
    const hub = name === 'huggingface' ? new HuggingFace(id, options) : new ModelScope(id, options)
    const folder = await hub.cached()
    if (folder) return folder
  }
  return undefined
}
