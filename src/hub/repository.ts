/** What both hubs have in common: requests that are retried, downloads that are resumed and checked. */
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SwiftTunersError } from '../errors.js'
import { printable } from '../text.js'
import { checkPath, lock, type RemoteFile, verify } from './files.js'
import { failed, type HubOptions } from './options.js'

/** What a repository holds, and which of its files are wanted. */
export interface Kind {
  readonly type: 'model' | 'dataset'
  chosen(files: RemoteFile[]): RemoteFile[]
}

/** Weights of other frameworks and what no loader here reads. */
const IGNORED = /(^|\/)(onnx|openvino|\.git)\/|\.(h5|msgpack|ot|onnx|tflite|gguf|ggml|pt|pth|ckpt|zip|tar|gz|mlmodel|pdf|png|jpe?g|gif|mp4)$|(^|\/)consolidated\.|(^|\/)\.gitattributes$/i

/** What of a model's repository is worth having: no weights of other frameworks, no `.bin` beside safetensors. */
export const MODEL: Kind = {
  type: 'model',
  chosen(files) {
    const kept = files.filter(f => !IGNORED.test(f.path))
    const safe = kept.some(f => /^(model|diffusion_pytorch_model|adapter_model)[^/]*\.safetensors$/.test(f.path))
    return kept.filter(f => !(safe && /^[^/]*\.bin$/.test(f.path)))
  },
}

/** A dataset's repository, of which those files are wanted that `choose` chooses by their paths. */
export const datasetOf = (choose: (paths: string[]) => string[]): Kind => ({
  type: 'dataset',
  chosen(files) {
    const chosen = new Set(choose(files.map(f => f.path)))
    return files.filter(f => chosen.has(f.path))
  },
})

const FILES_AT_ONCE = 4
const ATTEMPTS = 5

/** Milliseconds that a hub may take to answer. `HF_HUB_DOWNLOAD_TIMEOUT` is in seconds, as in `huggingface_hub`; default 60. */
function answerLimit(): number {
  const seconds = Number(process.env.HF_HUB_DOWNLOAD_TIMEOUT ?? NaN)
  return seconds > 0 ? Math.min(seconds * 1000, 2 ** 31 - 1) : 60_000
}

/** Milliseconds of a Retry-After header, one minute at most. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get('retry-after')
  if (!value) return undefined
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : undefined
}

/** The hub did not answer, or not sensibly: what is in the cache may serve instead. */
export class Unreachable extends Error {}

export abstract class Repository {
  abstract readonly root: string
  protected abstract readonly base: string
  protected abstract readonly token: string | undefined

  constructor(protected readonly id: string, protected readonly options: HubOptions, protected readonly kind: Kind = MODEL) {}

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

  /** The files that are wanted, of names that stay in their folder. */
  protected chosen(files: RemoteFile[]): RemoteFile[] {
    for (const { path } of files) checkPath(path, this.id)
    return this.kind.chosen(files)
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
