import { existsSync, readFileSync } from 'node:fs'
import { copyFile, mkdir, readFile, symlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { inside, type RemoteFile, writeWhole } from './files.js'
import { failed, type HubOptions, REVISION } from './options.js'
import { type Kind, Repository } from './repository.js'

const COMMIT = /^[0-9a-f]{40}$/

/** `huggingface_hub`: `models--org--name/{blobs,refs,snapshots}`, and `datasets--…`. */
export class HuggingFace extends Repository {
  readonly root: string
  protected readonly base: string
  protected readonly token: string | undefined
  readonly #folder: string
  readonly #revision: string

  constructor(id: string, options: HubOptions, kind?: Kind) {
    super(id, options, kind)
    const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
    this.root = options.cacheDirectory ?? process.env.HF_HUB_CACHE ?? process.env.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub')
    this.base = (options.endpoint ?? process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '')
    this.token = options.token ?? process.env.HF_TOKEN ?? process.env.HUGGING_FACE_HUB_TOKEN ?? readToken(process.env.HF_TOKEN_PATH ?? join(home, 'token'))
    this.#folder = join(this.root, `${this.kind.type}s--${id.replaceAll('/', '--')}`)
    this.#revision = options.revision ?? 'main'
  }

  protected headers(): Record<string, string> {
    return this.token ? { authorization: `Bearer ${this.token}` } : {}
  }

  async cached(): Promise<string | undefined> {
    const commit = await readFile(join(this.#folder, 'refs', this.#revision), 'utf8').then(t => t.trim(), () => this.#revision)
    if (!REVISION.test(commit) || commit.includes('..')) return undefined
    const folder = join(this.#folder, 'snapshots', commit)
    return existsSync(folder) ? folder : undefined
  }

  async download(): Promise<string> {
    const revision = encodeURIComponent(this.#revision)
    const info = await this.json(`${this.base}/api/${this.kind.type}s/${this.id}/revision/${revision}?blobs=true`)
    const commit = info?.sha
    if (typeof commit !== 'string' || !COMMIT.test(commit) || !Array.isArray(info.siblings)) {
      throw failed(`${this.id}: the hub's description of the repository has no commit or no files`)
    }
    const files: RemoteFile[] = info.siblings.map((s: any) => ({
      path: String(s?.rfilename),
      size: typeof s?.size === 'number' ? s.size : undefined,
      sha256: typeof s?.lfs?.sha256 === 'string' ? s.lfs.sha256 : undefined,
      gitSha1: s?.lfs ? undefined : typeof s?.blobId === 'string' ? s.blobId : undefined,
    }))
    const snapshot = join(this.#folder, 'snapshots', commit)
    await this.each(this.chosen(files), file => this.#one(file, commit, snapshot))
    if (this.#revision !== commit) {
      const ref = join(this.#folder, 'refs', this.#revision)
      await mkdir(dirname(ref), { recursive: true })
      await writeWhole(ref, commit)
    }
    return snapshot
  }

  async #one(file: RemoteFile, commit: string, snapshot: string): Promise<void> {
    const place = inside(snapshot, file.path, this.id)
    if (existsSync(place)) return
    const url = `${this.base}/${this.kind.type === 'model' ? '' : 'datasets/'}${this.id}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`
    // Blobs are called by their hash, as huggingface_hub calls them; without one the snapshot holds the file itself.
    const hash = file.sha256 ?? file.gitSha1
    if (!hash || !/^[0-9a-f]{40,64}$/.test(hash)) return this.fetchTo(file, url, place)
    const blob = join(this.#folder, 'blobs', hash)
    if (!existsSync(blob)) await this.fetchTo(file, url, blob)
    await mkdir(dirname(place), { recursive: true })
    await symlink(relative(dirname(place), blob), place).catch(async error => {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return
      await copyFile(blob, place) // Systems that allow no links.
    })
  }
}

function readToken(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
