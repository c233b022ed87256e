import { readdir, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { printable } from '../text.js'
import { inside, type RemoteFile, verify } from './files.js'
import { failed, type HubOptions } from './options.js'
import { type Kind, Repository } from './repository.js'

/** Entries of a dataset's list on one page, and the most pages of it. */
const PAGE = 200
const PAGES = 1000

/** `modelscope_hub`: `models/owner--name/snapshots/revision` (`datasets/…`), and the older `models/owner/name`. */
export class ModelScope extends Repository {
  readonly root: string
  protected readonly base: string
  protected readonly token: string | undefined
  readonly #revision: string

  constructor(id: string, options: HubOptions, kind?: Kind) {
    super(id, options, kind)
    this.root = options.cacheDirectory ?? process.env.MODELSCOPE_CACHE ?? join(homedir(), '.cache', 'modelscope')
    const domain = process.env.MODELSCOPE_DOMAIN && `https://${process.env.MODELSCOPE_DOMAIN}`
    this.base = (options.endpoint ?? process.env.MODELSCOPE_ENDPOINT ?? domain ?? 'https://modelscope.cn').replace(/\/+$/, '')
    this.token = options.token ?? process.env.MODELSCOPE_API_TOKEN
    this.#revision = options.revision ?? 'master'
  }

  protected headers(): Record<string, string> {
    return this.token ? { authorization: `Bearer ${this.token}`, cookie: `m_session_id=${this.token}` } : {}
  }

  get #snapshots(): string {
    return join(this.root, `${this.kind.type}s`, this.id.replaceAll('/', '--'), 'snapshots')
  }

  /** Where versions before 1.38 put a repository; they keep one revision only and write dots as ___. */
  get #legacy(): string[] {
    const [owner, name] = this.id.includes('/') ? this.id.split('/') : ['damo', this.id]
    const safe = name.replaceAll('.', '___')
    return (this.kind.type === 'model' ? ['models', 'hub/models', 'hub', '.'] : ['datasets', 'hub/datasets']).map(at => join(this.root, at, owner, safe))
  }

  async cached(): Promise<string | undefined> {
    const full = async (folder: string) => (await readdir(folder).catch(() => [])).some(n => !n.startsWith('.'))
    const folders = [join(this.#snapshots, this.#revision), ...(this.options.revision === undefined ? [join(this.#snapshots, 'main'), ...this.#legacy] : [])]
    for (const folder of folders) if (await full(folder)) return folder
    return undefined
  }

  async download(): Promise<string> {
    const revision = encodeURIComponent(this.#revision)
    const entries = this.kind.type === 'model' ? await this.#entries(`files?Revision=${revision}&Recursive=true`) : await this.#pages(revision)
    const files: RemoteFile[] = entries.filter((e: any) => e?.Type !== 'tree').map((e: any) => ({
      path: String(e?.Path),
      size: typeof e?.Size === 'number' ? e.Size : undefined,
      sha256: typeof e?.Sha256 === 'string' && /^[0-9a-f]{64}$/.test(e.Sha256) ? e.Sha256 : undefined,
    }))
    const folder = join(this.#snapshots, this.#revision)
    await this.each(this.chosen(files), file => this.#one(file, folder, revision))
    return folder
  }

  async #entries(list: string): Promise<any[]> {
    const answer = await this.json(`${this.#api}/repo/${list}`)
    const entries = Array.isArray(answer?.Data) ? answer.Data : answer?.Data?.Files
    if (!Array.isArray(entries)) throw failed(`${this.id}: ${printable(String(answer?.Message ?? 'the hub lists no files'))}`)
    return entries
  }

  /** Datasets have a list of their own, page by page. */
  async #pages(revision: string): Promise<any[]> {
    const all: any[] = []
    for (let page = 1; page <= PAGES; page++) {
      const entries = await this.#entries(`tree?Revision=${revision}&Recursive=True&PageNumber=${page}&PageSize=${PAGE}`)
      all.push(...entries)
      if (entries.length < PAGE) return all
    }
    throw failed(`${this.id}: the hub lists more than ${PAGE * PAGES} files`)
  }

  get #api(): string {
    return `${this.base}/api/v1/${this.kind.type}s/${this.id}`
  }

  async #one(file: RemoteFile, folder: string, revision: string): Promise<void> {
    const place = inside(folder, file.path, this.id)
    // A branch moves on, and its files keep their places: only what is as the hub says stays.
    const size = await stat(place).then(s => s.size, () => undefined)
    if (size !== undefined && (file.size === undefined || size === file.size) && !(await verify(file, place))) return
    await this.fetchTo(file, `${this.#api}/repo?Revision=${revision}&FilePath=${encodeURIComponent(file.path)}`, place)
  }
}
