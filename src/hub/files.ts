/** Files of the cache: names, checksums, locks. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { resolve, sep } from 'node:path'
import { SwiftTunersError } from '../errors.js'
import { printable } from '../text.js'

/** One file of a repository. */
export interface RemoteFile {
  path: string
  size?: number
  /** Hexadecimal; of the content. */
  sha256?: string
  /** Git's hash of a file that is not in LFS. */
  gitSha1?: string
}

/** Refuses names that would leave their folder on some system. */
export function checkPath(path: string, id: string): void {
  const bad = path === '' || path.length > 1024 || path.startsWith('/') || /[\\\0:]/.test(path)
    || path.split('/').some(c => c === '' || c === '.' || c === '..' || c.length > 255)
  if (bad) throw new SwiftTunersError('ERR_UNSAFE_FILE', `${id}: the hub lists a file called ${JSON.stringify(printable(path))}, which is no path inside of a repository`)
}

export function inside(folder: string, path: string, id: string): string {
  checkPath(path, id)
  const place = resolve(folder, path)
  if (!place.startsWith(resolve(folder) + sep)) throw new SwiftTunersError('ERR_UNSAFE_FILE', `${id}: ${printable(path)} leaves its folder`)
  return place
}

/** What is wrong with a file's size or checksum. */
export async function verify(file: RemoteFile, path: string): Promise<string | undefined> {
  const { size } = await stat(path)
  if (file.size !== undefined && size !== file.size) return `${size} bytes where ${file.size} were announced`
  const [kind, expected] = file.sha256 ? ['sha256', file.sha256] : ['sha1', file.gitSha1]
  if (!expected) return undefined
  const hash = createHash(kind)
  if (kind === 'sha1') hash.update(`blob ${size}\0`)
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  const actual = hash.digest('hex')
  return actual === expected ? undefined : `checksum ${actual} where ${expected} was announced`
}

/** A lock between processes; `undefined` when a running one holds it. */
export async function lock(path: string): Promise<(() => Promise<void>) | undefined> {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await writeFile(path, String(process.pid), { flag: 'wx' })
      return () => rm(path, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = Number(await readFile(path, 'utf8').catch(() => ''))
    if (holder > 0 && holder !== process.pid && isRunning(holder)) return undefined
    if (holder === process.pid) return undefined
    await rm(path, { force: true })
  }
  return undefined
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

export async function writeWhole(path: string, text: string): Promise<void> {
  const part = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}`
  await writeFile(part, text)
  await rename(part, path)
}
