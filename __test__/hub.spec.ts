/** Downloads against local servers that speak the hubs' protocols, with the faults that networks have. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { AutoModel, snapshotDownload, Swift, SwiftModel } from '../index.js'
import { base, failsWith, fixtures, logits, lora, temp } from './support.js'

const COMMIT = '0123456789abcdef0123456789abcdef01234567'
const hash = (kind: string, data: Buffer, head = '') => createHash(kind).update(head).update(data).digest('hex')
const sha256 = (data: Buffer) => hash('sha256', data)
const gitSha1 = (data: Buffer) => hash('sha1', data, `blob ${data.length}\0`)

type Files = Record<string, Buffer>
type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => boolean | void

interface Hub {
  url: string
  /** `GET path?query` of every request. */
  seen: { url: string; headers: IncomingMessage['headers']; server: 'hub' | 'cdn' }[]
  close(): Promise<void>
}

function listen(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  return new Promise(done => {
    const server = createServer(handler).listen(0, '127.0.0.1', () => done(server))
  })
}
const address = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

function send(request: IncomingMessage, response: ServerResponse, data: Buffer): void {
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
  const from = range ? Number(range[1]) : 0
  if (from >= data.length && range) return void response.writeHead(416).end()
  response.writeHead(range ? 206 : 200, { 'content-length': data.length - from })
  response.end(data.subarray(from))
}

const json = (response: ServerResponse, value: unknown, status = 200) => {
  const text = JSON.stringify(value)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
}

/** Hugging Face: large files behind a redirect to another host. `fault` may answer instead. */
async function huggingFace(files: Files, fault: Handler = () => {}, listed: object[] = []): Promise<Hub> {
  const seen: Hub['seen'] = []
  const isLarge = (name: string) => name.endsWith('.safetensors')
  const cdn = await listen((request, response) => {
    seen.push({ url: request.url!, headers: request.headers, server: 'cdn' })
    const url = new URL(request.url!, 'http://cdn')
    if (fault(request, response, url)) return
    const data = Object.values(files).find(f => url.pathname === `/lfs/${sha256(f)}`)
    if (data) send(request, response, data)
    else response.writeHead(404).end()
  })
  const hub = await listen((request, response) => {
    seen.push({ url: request.url!, headers: request.headers, server: 'hub' })
    const url = new URL(request.url!, 'http://hub')
    if (fault(request, response, url)) return
    const revision = /^\/api\/models\/org\/tiny\/revision\/([^/]+)$/.exec(url.pathname)
    if (revision) {
      if (!['main', 'v1', COMMIT].includes(decodeURIComponent(revision[1]))) return json(response, { error: 'Revision Not Found' }, 404)
      const siblings = Object.entries(files).map(([rfilename, data]) => ({
        rfilename, size: data.length, blobId: gitSha1(data), ...(isLarge(rfilename) ? { lfs: { sha256: sha256(data), size: data.length } } : {}),
      }))
      return json(response, { sha: COMMIT, siblings: [...siblings, ...listed] })
    }
    const file = new RegExp(`^/org/tiny/resolve/${COMMIT}/(.+)$`).exec(url.pathname)
    const data = file && files[decodeURIComponent(file[1])]
    if (!data) return json(response, { error: 'not found' }, 404)
    if (isLarge(file[1])) return void response.writeHead(302, { location: `${address(cdn)}/lfs/${sha256(data)}` }).end()
    send(request, response, data)
  })
  return {
    url: address(hub),
    seen,
    close: async () => {
      for (const s of [hub, cdn]) { s.closeAllConnections(); await new Promise(done => s.close(done)) }
    },
  }
}

async function modelScope(files: Files, fault: Handler = () => {}): Promise<Hub> {
  const seen: Hub['seen'] = []
  const hub = await listen((request, response) => {
    seen.push({ url: request.url!, headers: request.headers, server: 'hub' })
    const url = new URL(request.url!, 'http://hub')
    if (fault(request, response, url)) return
    if (url.pathname === '/api/v1/models/org/tiny/repo/files') {
      const Files = Object.entries(files).map(([Path, data]) => ({ Path, Name: Path, Type: 'blob', Size: data.length, Sha256: sha256(data), Revision: COMMIT }))
      return json(response, { Code: 200, Data: { Files: [{ Path: 'folder', Type: 'tree' }, ...Files] } })
    }
    const data = url.pathname === '/api/v1/models/org/tiny/repo' ? files[url.searchParams.get('FilePath')!] : undefined
    if (data) send(request, response, data)
    else json(response, { Code: 404, Message: 'not found' }, 404)
  })
  return { url: address(hub), seen, close: async () => { hub.closeAllConnections(); await new Promise(done => hub.close(done)) } }
}

const read = (...path: string[]) => readFileSync(join(...path))
const llama = (): Files => ({
  'config.json': read(fixtures, 'models/llama/config.json'),
  'model.safetensors': read(fixtures, 'models/llama/model.safetensors'),
  'generation_config.json': read(fixtures, 'models/llama/generation_config.json'),
  'pytorch_model.bin': Buffer.from('weights twice over'),
  'model.onnx': Buffer.from('for somebody else'),
})

const withHub = (make: () => Promise<Hub>, body: (hub: Hub, cache: string) => Promise<void>) => async () => {
  const hub = await make()
  try {
    await body(hub, temp())
  } finally {
    await hub.close()
  }
}

test('a model comes from Hugging Face into the layout of huggingface_hub, and only once', async t => {
  await withHub(() => huggingFace(llama()), async (hub, cache) => {
    const progress: string[] = []
    const options = { hub: 'huggingface' as const, endpoint: hub.url, cacheDirectory: cache, token: 'secret', dtype: 'f32' as const, onProgress: (e: { file: string }) => progress.push(e.file) }
    const model = await AutoModel.fromPretrained('org/tiny', options)
    t.deepEqual(await logits(model), await logits(await base()))
    const repo = join(cache, 'models--org--tiny')
    t.is(readFileSync(join(repo, 'refs/main'), 'utf8'), COMMIT)
    const files = llama()
    t.deepEqual(readdirSync(join(repo, 'snapshots', COMMIT)).sort(), ['config.json', 'generation_config.json', 'model.safetensors'])
    t.is(readlinkSync(join(repo, 'snapshots', COMMIT, 'model.safetensors')), `../../blobs/${sha256(files['model.safetensors'])}`)
    t.is(readlinkSync(join(repo, 'snapshots', COMMIT, 'config.json')), `../../blobs/${gitSha1(files['config.json'])}`)
    t.true(progress.includes('model.safetensors'))
    t.true(hub.seen.filter(r => r.server === 'hub').every(r => r.headers.authorization === 'Bearer secret'))
    t.true(hub.seen.filter(r => r.server === 'cdn').every(r => r.headers.authorization === undefined), 'the token goes to the hub only')
    const before = hub.seen.length
    await AutoModel.fromPretrained('org/tiny', options)
    t.deepEqual(hub.seen.slice(before).map(r => r.url), ['/api/models/org/tiny/revision/main?blobs=true'])
    await AutoModel.fromPretrained('org/tiny', { ...options, localFilesOnly: true })
    t.is(hub.seen.length, before + 1)
  })()
})

test('an adapter comes from ModelScope into the layout of modelscope_hub', async t => {
  const model = await Swift.prepareModel(await base(), { style: lora() }, { seed: 4 })
  const saved = temp()
  await model.savePretrained(saved)
  const files: Files = {}
  for (const name of ['README.md', 'configuration.json', 'style/adapter_config.json', 'style/adapter_model.safetensors']) files[name] = read(saved, name)
  await withHub(() => modelScope(files), async (hub, cache) => {
    const tuned = await Swift.fromPretrained(await base(), 'org/tiny', { endpoint: hub.url, cacheDirectory: cache, token: 'secret' })
    t.true(tuned instanceof SwiftModel)
    t.deepEqual(await logits(tuned), await logits(model.eval()))
    t.deepEqual(readdirSync(join(cache, 'models/org--tiny/snapshots/master')).sort(), ['README.md', 'configuration.json', 'style'])
    t.is(hub.seen[0].headers.cookie, 'm_session_id=secret')
    const before = hub.seen.length
    await Swift.fromPretrained(await base(), 'org/tiny', { endpoint: hub.url, cacheDirectory: cache })
    t.is(hub.seen.length, before + 1, 'files that are as the hub says are not fetched again')
    files['style/adapter_config.json'] = Buffer.from(files['style/adapter_config.json'].toString().replace('"lora_alpha": 8', '"lora_alpha": 9'))
    const moved = await Swift.fromPretrained(await base(), 'org/tiny', { endpoint: hub.url, cacheDirectory: cache }) as SwiftModel
    t.is((moved.adapters.get('style')!.toJSON() as { lora_alpha: number }).lora_alpha, 9, 'a branch that moved on is followed')
  })()
})

test('what older modelscope versions downloaded is found', async t => {
  const cache = temp()
  const folder = join(cache, 'hub/models/org/tiny-1___5')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), '{}')
  t.is(await snapshotDownload('org/tiny-1.5', { cacheDirectory: cache, localFilesOnly: true }), folder)
  await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny-1.5', { cacheDirectory: cache, localFilesOnly: true, revision: 'v2' }))
})

test('a revision is a branch, a tag or a commit; an unknown one is an error that names it', async t => {
  await withHub(() => huggingFace(llama()), async (hub, cache) => {
    const options = { hub: 'huggingface' as const, endpoint: hub.url, cacheDirectory: cache }
    await snapshotDownload('org/tiny', { ...options, revision: 'v1' })
    t.is(readFileSync(join(cache, 'models--org--tiny/refs/v1'), 'utf8'), COMMIT)
    const byCommit = await snapshotDownload('org/tiny', { ...options, revision: COMMIT })
    t.is(byCommit, join(cache, 'models--org--tiny/snapshots', COMMIT))
    t.false(existsSync(join(cache, 'models--org--tiny/refs', COMMIT)))
    const error = await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny', { ...options, revision: 'nope' }))
    t.regex(error.message, /org\/tiny.*not found at revision nope/)
    for (const revision of ['../x', 'a/../b', '', '/etc', 'a b']) await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny', { ...options, revision }))
  })()
})

test('a download that is cut off goes on where it stopped', async t => {
  const files = llama()
  let cuts = 0
  const fault: Handler = (request, response, url) => {
    if (!url.pathname.startsWith('/lfs/') || cuts >= 2) return false
    cuts += 1
    const data = files['model.safetensors']
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    response.writeHead(from ? 206 : 200, { 'content-length': data.length - from })
    response.write(data.subarray(from, from + 100_000), () => setTimeout(() => response.destroy(), 20))
    return true
  }
  await withHub(() => huggingFace(files, fault), async (hub, cache) => {
    const folder = await snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: hub.url, cacheDirectory: cache })
    t.deepEqual(readFileSync(join(folder, 'model.safetensors')), files['model.safetensors'])
    const ranges = hub.seen.filter(r => r.server === 'cdn').map(r => r.headers.range)
    t.is(ranges[0], undefined)
    t.true(ranges.length === 3 && ranges.slice(1).every(r => /^bytes=[1-9]\d*-$/.test(r!)), String(ranges))
  })()
})

test.serial('a file may take longer than the hub may take to answer', async t => {
  const files = llama()
  const weights = files['model.safetensors']
  const fault: Handler = (_request, response, url) => {
    if (!url.pathname.startsWith('/lfs/')) return false
    response.writeHead(200, { 'content-length': weights.length })
    response.write(weights.subarray(0, 50_000))
    setTimeout(() => response.end(weights.subarray(50_000)), 1500)
    return true
  }
  process.env.HF_HUB_DOWNLOAD_TIMEOUT = '1'
  try {
    await withHub(() => huggingFace(files, fault), async (hub, cache) => {
      const folder = await snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: hub.url, cacheDirectory: cache })
      t.deepEqual(readFileSync(join(folder, 'model.safetensors')), weights)
      t.is(hub.seen.filter(r => r.server === 'cdn').length, 1, 'in one go')
    })()
  } finally {
    delete process.env.HF_HUB_DOWNLOAD_TIMEOUT
  }
})

test.serial('a hub that accepts the connection and says nothing is given up', async t => {
  const silent = await listen(() => {})
  process.env.HF_HUB_DOWNLOAD_TIMEOUT = '0.05'
  try {
    const error = await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: address(silent), cacheDirectory: temp() }))
    t.regex(error.message, /does not answer/)
  } finally {
    delete process.env.HF_HUB_DOWNLOAD_TIMEOUT
    silent.closeAllConnections()
    silent.close()
  }
})

test('an aborted download rejects with the reason and is resumed by the next', async t => {
  const files = llama()
  let slow = true
  const fault: Handler = (_request, response, url) => {
    if (!slow || !url.pathname.startsWith('/lfs/')) return false
    response.writeHead(200, { 'content-length': files['model.safetensors'].length })
    response.write(files['model.safetensors'].subarray(0, 50_000))
    return true
  }
  await withHub(() => huggingFace(files, fault), async (hub, cache) => {
    const controller = new AbortController()
    const reason = new Error('changed my mind')
    const options = { hub: 'huggingface' as const, endpoint: hub.url, cacheDirectory: cache }
    const onProgress = (e: { file: string; loaded: number }) => { if (e.file === 'model.safetensors' && e.loaded >= 50_000) controller.abort(reason) }
    t.is(await t.throwsAsync(snapshotDownload('org/tiny', { ...options, signal: controller.signal, onProgress })), reason)
    slow = false
    const folder = await snapshotDownload('org/tiny', options)
    t.deepEqual(readFileSync(join(folder, 'model.safetensors')), files['model.safetensors'])
    t.is(hub.seen.filter(r => r.server === 'cdn').at(-1)!.headers.range, 'bytes=50000-')
    t.deepEqual(readdirSync(join(cache, 'models--org--tiny/blobs')).filter(n => /incomplete|lock/.test(n)), [])
  })()
})

test('a wrong checksum is an error that names the file, and leaves nothing behind', async t => {
  const files = llama()
  const fault: Handler = (request, response, url) => {
    if (!url.pathname.startsWith('/lfs/')) return false
    send(request, response, Buffer.alloc(files['model.safetensors'].length, 7))
    return true
  }
  await withHub(() => huggingFace(files, fault), async (hub, cache) => {
    const error = await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: hub.url, cacheDirectory: cache }))
    t.regex(error.message, /model\.safetensors.*checksum/)
    t.false(existsSync(join(cache, 'models--org--tiny/snapshots', COMMIT, 'model.safetensors')))
    t.false(existsSync(join(cache, 'models--org--tiny/refs/main')), 'a snapshot that is not whole is not referred to')
  })()
})

test('429 with Retry-After and 503 are waited for', async t => {
  const answers = [[429, '1'], [503, undefined]] as const
  let asked = 0
  const started = Date.now()
  const fault: Handler = (_, response, url) => {
    if (!url.pathname.startsWith('/api/') || asked >= answers.length) return false
    const [status, after] = answers[asked++]
    response.writeHead(status, after ? { 'retry-after': after } : {}).end()
    return true
  }
  await withHub(() => huggingFace(llama(), fault), async (hub, cache) => {
    await snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: hub.url, cacheDirectory: cache })
    t.is(asked, 2)
    t.true(Date.now() - started >= 1000)
  })()
})

test('names that would leave the cache are refused before anything is written', async t => {
  for (const rfilename of ['../../evil.json', '/etc/passwd', 'a/../../b.json', 'c:\\x.json', 'a\\..\\b.json', 'a//b.json', '']) {
    await withHub(() => huggingFace(llama(), undefined, [{ rfilename, size: 1 }]), async (hub, cache) => {
      await failsWith(t, 'ERR_UNSAFE_FILE', () => snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: hub.url, cacheDirectory: join(cache, 'deep/in') }))
      t.deepEqual(readdirSync(cache), [])
    })()
  }
  for (const id of ['../x', 'a/b/c', 'org/..', '-x/y', 'org/ti ny']) await failsWith(t, 'ERR_HUB', () => snapshotDownload(id, { localFilesOnly: true }))
})

test('private repositories say that a token is needed, loops of redirects end', async t => {
  const denied: Handler = (_, response) => { json(response, { error: 'gated' }, 401); return true }
  await withHub(() => huggingFace(llama(), denied), async (hub, cache) => {
    const error = await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: hub.url, cacheDirectory: cache, token: '' }))
    t.regex(error.message, /access denied \(401\); a token may be needed/)
  })()
  const loop: Handler = (_, response, url) => { response.writeHead(302, { location: url.href.replace('http://hub', '') }).end(); return true }
  await withHub(() => huggingFace(llama(), loop), async (hub, cache) => {
    const error = await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny', { hub: 'huggingface', endpoint: hub.url, cacheDirectory: cache }))
    t.regex(error.message, /redirects more than ten times/)
  })()
})

test('a hub that does not answer is replaced by the cache with a warning, or is an error', async t => {
  const cache = temp()
  const closed = await listen(() => {})
  const nobody = address(closed)
  closed.close()
  const error = await failsWith(t, 'ERR_HUB', () => snapshotDownload('org/tiny', { endpoint: nobody, cacheDirectory: cache }))
  t.regex(error.message, /org\/tiny: 127\.0\.0\.1:\d+ does not answer/)
  const folder = join(cache, 'models/org--tiny/snapshots/master')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), '{}')
  t.is(await snapshotDownload('org/tiny', { endpoint: nobody, cacheDirectory: cache }), folder)
})

test('eight downloads of one repository at once end in one copy', async t => {
  await withHub(() => huggingFace(llama()), async (hub, cache) => {
    const options = { hub: 'huggingface' as const, endpoint: hub.url, cacheDirectory: cache }
    const folders = await Promise.all(Array.from({ length: 8 }, () => snapshotDownload('org/tiny', options)))
    t.is(new Set(folders).size, 1)
    t.deepEqual(readdirSync(join(cache, 'models--org--tiny/blobs')).sort().length, 3)
    t.deepEqual(readFileSync(join(folders[0], 'model.safetensors')), llama()['model.safetensors'])
  })()
})
