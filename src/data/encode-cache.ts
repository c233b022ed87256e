/** Encoded rows on disk, by the content that they were made of. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SwiftTunersError } from '../errors.js'

/** Of what is written; another number makes older caches unknown. */
const VERSION = 1

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** A folder of files that are called by the hash of what they were made of. */
export class Cache {
  readonly #folder: string
  readonly #maker: string

  /** `maker`: what the rows are encoded by and how. */
  constructor(folder: string, maker: string) {
    this.#folder = folder
    this.#maker = sha256(`${VERSION}\n${maker}`)
  }

  /** What was made of these texts: as it was kept, or made now. */
  async kept<T>(texts: string[], make: () => Promise<T>): Promise<T> {
    const hash = createHash('sha256').update(this.#maker)
    // Lengths keep the texts apart.
    for (const text of texts) hash.update(`\n${text.length}\n`).update(text)
    const key = hash.digest('hex')
    const path = join(this.#folder, key.slice(0, 2), `${key}.json`)
    const found = await read(path)
    if (found !== undefined) return JSON.parse(found) as T
    const value = await make()
    await write(path, JSON.stringify(value))
    return value
  }
}

/** A file's content, if it is whole. */
async function read(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw new SwiftTunersError('ERR_IO', `cache: ${cause.message}`, { cause, details: { path } })
  })
  const end = text?.indexOf('\n') ?? -1
  return text !== undefined && end > 0 && text.slice(0, end) === sha256(text.slice(end + 1)) ? text.slice(end + 1) : undefined
}

/** Moves a file that is whole to its place. */
async function write(path: string, content: string): Promise<void> {
  const part = `${path}.${randomUUID()}`
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(part, `${sha256(content)}\n${content}`)
    await rename(part, path)
  } catch (cause) {
    await rm(part, { force: true }).catch(() => {})
    throw new SwiftTunersError('ERR_IO', `cache: ${(cause as Error).message}`, { cause, details: { path } })
  }
}
