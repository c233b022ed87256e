import { existsSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { SwiftTunersError } from './errors.js'

/** What a hub id looks like: one or two names of plain characters. */
const ID = /^[A-Za-z0-9][\w.-]*(\/[\w.-]+)?$/

/** Where `huggingface_hub` keeps snapshots. */
function huggingFaceCache(): string {
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
  return process.env.HF_HUB_CACHE ?? process.env.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub')
}

/** Where `modelscope` keeps snapshots. */
function modelScopeCache(): string {
  return process.env.MODELSCOPE_CACHE ?? join(homedir(), '.cache', 'modelscope', 'hub')
}

/** The folder of an id that Python's tools have downloaded before, if it is there. */
async function cached(id: string, revision: string | undefined): Promise<string | undefined> {
  const { readFile } = await import('node:fs/promises')
  const repo = join(huggingFaceCache(), `models--${id.replaceAll('/', '--')}`)
  const wanted = revision ?? 'main'
  const commit = await readFile(join(repo, 'refs', wanted), 'utf8').then(t => t.trim(), () => wanted)
  const candidates = [join(repo, 'snapshots', commit)]
  if (revision === undefined) {
    // ModelScope replaces dots in names, which Python packages cannot have.
    candidates.push(join(modelScopeCache(), 'models', id.replaceAll('.', '___')), join(modelScopeCache(), id.replaceAll('.', '___')))
  }
  return candidates.find(folder => existsSync(folder))
}

/**
 * A local directory as it is; a hub id from the caches of `huggingface_hub` and `modelscope`. Downloading is not part of
 * this version: an id that is in neither cache is an error that says so.
 */
export async function resolveModel(directoryOrId: string, options: { revision?: string } = {}): Promise<string> {
  if (typeof directoryOrId !== 'string' || directoryOrId === '') {
    throw new TypeError(`expected a directory or a hub id, found ${typeof directoryOrId}`)
  }
  if (existsSync(directoryOrId)) {
    if (!statSync(directoryOrId).isDirectory()) throw new SwiftTunersError('ERR_IO', `${directoryOrId}: not a directory`)
    return directoryOrId
  }
  const { revision } = options
  if (!ID.test(directoryOrId) || directoryOrId.includes('..') || (revision !== undefined && !/^[\w.-]+(\/[\w.-]+)*$/.test(revision)) || revision?.includes('..')) {
    throw new SwiftTunersError('ERR_IO', `${printable(directoryOrId)}: no such directory`)
  }
  const folder = await cached(directoryOrId, revision)
  if (folder) return folder
  throw new SwiftTunersError('ERR_HUB', `${directoryOrId}: no such directory, and no download of that id in the caches `
    + `${huggingFaceCache()} and ${modelScopeCache()}; this version does not download, fetch it with 'hf download' or 'modelscope download'`)
}

/** Text of a stranger, on one line. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.slice(0, 200).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
}
