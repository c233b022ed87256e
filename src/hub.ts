/**
 * Models by id: downloads from Hugging Face and ModelScope, kept in the layouts of `huggingface_hub` and `modelscope_hub`, so that
 * each side finds what the other has downloaded.
 */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat, symlink, writeFile, copyFile, type FileHandle } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SwiftTunersError, warn } from './errors.js'

export type Hub = 'modelscope' | 'huggingface'

export interface HubOptions {
  /** Where ids are looked up. Default ModelScope, or Hugging Face when `USE_HF=1`. */
  hub?: Hub
  /** Branch, tag or commit. Default `main` (Hugging Face) or `master` (ModelScope). */
  revision?: string
  /** Default `HF_TOKEN` or the file that `hf auth login` wrote; `MODELSCOPE_API_TOKEN`. */
  token?: string
  /** Default `HF_ENDPOINT`, `MODELSCOPE_ENDPOINT`, or the hub's own address. */
  endpoint?: string
  /** Root of the cache. Default as the Python packages find it (`HF_HUB_CACHE`, `MODELSCOPE_CACHE`, …). */
  cacheDirectory?: string
  /** Takes what the cache has and asks nobody; also with `HF_HUB_OFFLINE=1`. */
  localFilesOnly?: boolean
  signal?: AbortSignal
  /** Bytes of one file. */
  onProgress?: (event: { file: string; loaded: number; total: number }) => void
}

/** What a hub id looks like: one or two names of plain characters. */
const ID = /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/
const REVISION = /^[A-Za-z0-9][\w.-]*(\/[\w-][\w.-]*)*$/
const COMMIT = /^[0-9a-f]{40}$/
/** Weights of other frameworks and what no loader here reads. */
const IGNORED = /(^|\/)(onnx|openvino|\.git)\/|\.(h5|msgpack|ot|onnx|tflite|gguf|ggml|pt|pth|ckpt|zip|tar|gz|mlmodel|pdf|png|jpe?g|gif|mp4)$|(^|\/)consolidated\.|(^|\/)\.gitattributes$/i
const FILES_AT_ONCE = 4
const ATTEMPTS = 5

/** One file of a repository. */
interface RemoteFile {
  path: string
  size?: number
  /** Hexadecimal; of the content. */
  sha256?: string
  /** Git's hash of a file that is not in LFS. */
  gitSha1?: string
}

/** Milliseconds that a hub may take to answer. `HF_HUB_DOWNLOAD_TIMEOUT` is in seconds, as in `huggingface_hub`; default 60. */
function answerLimit(): number {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT ?? NaN)
  return seconds > 0 ? Math.min(seconds * 1000, 2 ** 31 - 1) : 60_000
}

const flag = (name: string) => /^(1|true|yes|on)$/i.test(process.env[name] ?? '')

function failed(message: string, cause?: unknown): SwiftTunersError {
  return new SwiftTunersError('ERR_HUB', message, cause === undefined ? undefined : { cause })
}

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

/** The hub did not answer, or not sensibly: what is in the cache may serve instead. */
class Unreachable extends Error {}

abstract class Repository {
  abstract readonly root: string
  protected abstract readonly base: string
  protected abstract readonly token: string | undefined

  constructor(protected readonly id: string, protected readonly options: HubOptions) {}

  abstract download(): Promise<string>
  abstract cached(): Promise<string | undefined>

  protected abstract headers(): Record<string, string>

  /** A request that follows redirects itself: credentials go to the hub's own origin only. Retries what may pass. */
  protected async request(url: string, headers: Record<string, string> = {}): Promise<Response> {
    const { signal } = this.options
    for (let attempt = 1; ; attempt++) {
      let response: Response | undefined
      let problem: unknown
      try {
        response = await this.#follow(url, headers)
      } catch (error) {
        if (signal?.aborted) throw signal.reason
        if (error instanceof SwiftTunersError) throw error
        problem = error
      }
      if (response && response.status < 500 && response.status !== 429 && response.status !== 408) return response
      // Nobody at that address: waiting does not help.
      const nobody = /^(ENOTFOUND|ECONNREFUSED)$/.test(String((problem as { cause?: { code?: string } })?.cause?.code))
      if (attempt >= (nobody ? 2 : ATTEMPTS)) {
        await response?.body?.cancel().catch(() => {})
        const why = response ? `status ${response.status}` : String((problem as Error)?.cause ?? problem)
        throw new Unreachable(`${this.id}: ${new URL(url).host} does not answer (${printable(why)})`, { cause: problem })
      }
      const wait = response ? retryAfter(response) : undefined
      await response?.body?.cancel().catch(() => {})
      await sleep(wait ?? Math.min(250 * 2 ** attempt, 8000), undefined, { signal }).catch(() => { throw signal!.reason })
    }
  }

  async #follow(url: string, headers: Record<string, string>): Promise<Response> {
    let at = new URL(url)
    const home = at.origin
    for (let hops = 0; hops <= 10; hops++) {
      const own = at.origin === home ? this.headers() : {}
      // A server that accepts the connection and says nothing must not hang the call. The body may take as long as it takes:
      // fetch itself ends one that stands still.
      const silence = new AbortController()
      const limit = answerLimit()
      const timer = setTimeout(() => silence.abort(new Error(`no answer within ${limit / 1000} s`)), limit)
      const signal = this.options.signal ? AbortSignal.any([this.options.signal, silence.signal]) : silence.signal
      const sent = fetch(at, { redirect: 'manual', signal, headers: { 'user-agent': 'swift-tuners', 'accept-encoding': 'identity', ...own, ...headers } })
      const response = await sent.finally(() => clearTimeout(timer))
      const location = response.headers.get('location')
      if (response.status < 300 || response.status >= 400 || !location) return response
      await response.body?.cancel().catch(() => {})
      const next = new URL(location, at)
      if (!/^https?:$/.test(next.protocol) || (at.protocol === 'https:' && next.protocol === 'http:')) {
        throw failed(`${this.id}: ${at.host} redirects to ${printable(next.href)}, which is not followed`)
      }
      at = next
    }
    throw failed(`${this.id}: ${new URL(url).host} redirects more than ten times`)
  }

  protected async json(url: string): Promise<any> {
    const response = await this.request(url)
    if (!response.ok) throw await this.refusal(response)
    const length = Number(response.headers.get('content-length') ?? 0)
    if (length > 64e6) throw failed(`${this.id}: the list of files has ${length} bytes`)
    try {
      return await response.json()
    } catch (error) {
      throw new Unreachable(`${this.id}: ${new URL(url).host} answers with something that is no JSON`, { cause: error })
    }
  }

  protected async refusal(response: Response, file = ''): Promise<SwiftTunersError> {
    const text = await response.text().catch(() => '')
    const what = file ? `${this.id}: ${printable(file)}` : this.id
    const revision = this.options.revision ? ` at revision ${this.options.revision}` : ''
    const why = response.status === 401 || response.status === 403
      ? `access denied (${response.status})${this.token ? '' : '; a token may be needed'}`
      : response.status === 404 ? `not found${revision}` : `status ${response.status}: ${printable(text).slice(0, 120)}`
    return failed(`${what}: ${why}`)
  }

  /** Runs the downloads of several files, a few at a time; the first failure stops the rest. */
  protected async each(files: RemoteFile[], one: (file: RemoteFile) => Promise<void>): Promise<void> {
    const waiting = [...files]
    let stopped: { error: unknown } | undefined
    const worker = async () => {
      for (let file = waiting.shift(); file && !stopped; file = waiting.shift()) {
        try {
          await one(file)
        } catch (error) {
          stopped ??= { error }
        }
      }
    }
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker))
    if (stopped) throw (stopped as { error: unknown }).error
  }

  /** What of a repository is worth having: no weights of other frameworks, no `.bin` beside safetensors. */
  protected chosen(files: RemoteFile[]): RemoteFile[] {
    for (const { path } of files) checkPath(path, this.id)
    const kept = files.filter(f => !IGNORED.test(f.path))
    const safe = kept.some(f => /^(model|diffusion_pytorch_model|adapter_model)[^/]*\.safetensors$/.test(f.path))
    return kept.filter(f => !(safe && /^[^/]*\.bin$/.test(f.path)))
  }

  /** Downloads a file beside its place and moves it there once size and checksum are right. */
  protected async fetchTo(file: RemoteFile, url: string, target: string): Promise<void> {
    await mkdir(dirname(target), { recursive: true })
    const own = `${target}.incomplete`
    const release = await lock(`${own}.lock`)
    // Somebody else is at this file: a download of our own, which cannot be resumed.
    const part = release ? own : `${target}.${process.pid}-${Math.random().toString(36).slice(2)}.incomplete`
    try {
      for (let attempt = 1; ; attempt++) {
        const wrong = await this.#fetchPart(file, url, part)
        if (!wrong) break
        await rm(part, { force: true })
        if (attempt >= 2) throw failed(`${this.id}: ${printable(file.path)}: ${wrong}`)
      }
      await rename(part, target)
    } finally {
      if (!release) await rm(part, { force: true })
      await release?.()
    }
  }

  /** Says what is wrong with the file in the end, if anything is. */
  async #fetchPart(file: RemoteFile, url: string, part: string): Promise<string | undefined> {
    const { signal, onProgress } = this.options
    for (let attempt = 1; ; attempt++) {
      let have = await stat(part).then(s => s.size, () => 0)
      if (file.size !== undefined && have > file.size) {
        await rm(part, { force: true })
        have = 0
      }
      if (file.size !== undefined && have === file.size && have > 0) return verify(file, part)
      const response = await this.request(url, have ? { range: `bytes=${have}-` } : {})
      if (response.status === 416) {
        await response.body?.cancel().catch(() => {})
        await rm(part, { force: true })
        if (attempt >= ATTEMPTS) throw failed(`${this.id}: ${printable(file.path)}: the server refuses to go on at byte ${have}`)
        continue
      }
      if (!response.ok || !response.body) throw await this.refusal(response, file.path)
      // A server that knows no ranges sends everything again.
      const from = response.status === 206 ? have : 0
      const length = Number(response.headers.get('content-length') ?? NaN)
      const total = file.size ?? (Number.isNaN(length) ? NaN : from + length)
      let handle: FileHandle | undefined
      let loaded = from
      let broken: unknown
      try {
        handle = await open(part, from ? 'a' : 'w')
        for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
          signal?.throwIfAborted()
          loaded += chunk.byteLength
          if (loaded > (Number.isNaN(total) ? Infinity : total)) return `more than the ${total} bytes that were announced`
          await handle.write(chunk)
          onProgress?.({ file: file.path, loaded, total: Number.isNaN(total) ? loaded : total })
        }
        await handle.sync()
      } catch (error) {
        if (signal?.aborted) throw signal.reason
        const code = (error as NodeJS.ErrnoException).code
        if (code && /^E(NOSPC|ACCES|ROFS|DQUOT|FBIG|ISDIR|NOTDIR)$/.test(code)) throw new SwiftTunersError('ERR_IO', `${part}: ${(error as Error).message}`, { cause: error })
        broken = error
      } finally {
        await handle?.close()
      }
      if (broken === undefined && (Number.isNaN(total) || loaded === total)) return verify(file, part)
      // Cut off: the next attempt goes on from here.
      if (attempt >= ATTEMPTS) throw new Unreachable(`${this.id}: ${printable(file.path)}: cut off after ${loaded} of ${total} bytes`, { cause: broken })
      await sleep(100 * 2 ** attempt, undefined, { signal }).catch(() => { throw signal!.reason })
    }
  }
}

/** `huggingface_hub`: `models--org--name/{blobs,refs,snapshots}`. */
class HuggingFace extends Repository {
  readonly root: string
  protected readonly base: string
  protected readonly token: string | undefined
  readonly #folder: string
  readonly #revision: string

  constructor(id: string, options: HubOptions) {
    super(id, options)
    const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
    this.root = options.cacheDirectory ?? process.env.HF_HUB_CACHE ?? process.env.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub')
    this.base = (options.endpoint ?? process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '')
    this.token = options.token ?? process.env.HF_TOKEN ?? process.env.HUGGING_FACE_HUB_TOKEN ?? readToken(process.env.HF_TOKEN_PATH ?? join(home, 'token'))
    this.#folder = join(this.root, `models--${id.replaceAll('/', '--')}`)
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
    const info = await this.json(`${this.base}/api/models/${this.id}/revision/${revision}?blobs=true`)
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
    const url = `${this.base}/${this.id}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`
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

/** `modelscope_hub`: `models/owner--name/snapshots/revision`, and the older `models/owner/name`. */
class ModelScope extends Repository {
  readonly root: string
  protected readonly base: string
  protected readonly token: string | undefined
  readonly #revision: string

  constructor(id: string, options: HubOptions) {
    super(id, options)
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
    return join(this.root, 'models', this.id.replaceAll('/', '--'), 'snapshots')
  }

  /** Where versions before 1.38 put a repository; they keep one revision only and write dots as ___. */
  get #legacy(): string[] {
    const [owner, name] = this.id.includes('/') ? this.id.split('/') : ['damo', this.id]
    const safe = name.replaceAll('.', '___')
    return ['models', 'hub/models', 'hub', '.'].map(at => join(this.root, at, owner, safe))
  }

  async cached(): Promise<string | undefined> {
    const full = async (folder: string) => (await readdir(folder).catch(() => [])).some(n => !n.startsWith('.'))
    const folders = [join(this.#snapshots, this.#revision), ...(this.options.revision === undefined ? [join(this.#snapshots, 'main'), ...this.#legacy] : [])]
    for (const folder of folders) if (await full(folder)) return folder
    return undefined
  }

  async download(): Promise<string> {
    const revision = encodeURIComponent(this.#revision)
    const answer = await this.json(`${this.base}/api/v1/models/${this.id}/repo/files?Revision=${revision}&Recursive=true`)
    const entries = Array.isArray(answer?.Data) ? answer.Data : answer?.Data?.Files
    if (!Array.isArray(entries)) throw failed(`${this.id}: ${printable(String(answer?.Message ?? 'the hub lists no files'))}`)
    const files: RemoteFile[] = entries.filter((e: any) => e?.Type !== 'tree').map((e: any) => ({
      path: String(e?.Path),
      size: typeof e?.Size === 'number' ? e.Size : undefined,
      sha256: typeof e?.Sha256 === 'string' && /^[0-9a-f]{64}$/.test(e.Sha256) ? e.Sha256 : undefined,
    }))
    const folder = join(this.#snapshots, this.#revision)
    await this.each(this.chosen(files), file => this.#one(file, folder, revision))
    return folder
  }

  async #one(file: RemoteFile, folder: string, revision: string): Promise<void> {
    const place = inside(folder, file.path, this.id)
    // A branch moves on, and its files keep their places: only what is as the hub says stays.
    const size = await stat(place).then(s => s.size, () => undefined)
    if (size !== undefined && (file.size === undefined || size === file.size) && !(await verify(file, place))) return
    await this.fetchTo(file, `${this.base}/api/v1/models/${this.id}/repo?Revision=${revision}&FilePath=${encodeURIComponent(file.path)}`, place)
  }
}

/** Refuses names that would leave their folder on some system. */
function checkPath(path: string, id: string): void {
  const bad = path === '' || path.length > 1024 || path.startsWith('/') || /[\\\0:]/.test(path)
    || path.split('/').some(c => c === '' || c === '.' || c === '..' || c.length > 255)
  if (bad) throw new SwiftTunersError('ERR_UNSAFE_FILE', `${id}: the hub lists a file called ${JSON.stringify(printable(path))}, which is no path inside of a repository`)
}

function inside(folder: string, path: string, id: string): string {
  checkPath(path, id)
  const place = resolve(folder, path)
  if (!place.startsWith(resolve(folder) + sep)) throw new SwiftTunersError('ERR_UNSAFE_FILE', `${id}: ${printable(path)} leaves its folder`)
  return place
}

/** What is wrong with a file's size or checksum. */
async function verify(file: RemoteFile, path: string): Promise<string | undefined> {
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

/** Milliseconds of a Retry-After header, one minute at most. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get('retry-after')
  if (!value) return undefined
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : undefined
}

/** A lock between processes; `undefined` when a running one holds it. */
async function lock(path: string): Promise<(() => Promise<void>) | undefined> {
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

async function writeWhole(path: string, text: string): Promise<void> {
  const part = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}`
  await writeFile(part, text)
  await rename(part, path)
}

function readToken(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}

/** Text of a stranger, on one line. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.slice(0, 200).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
}
