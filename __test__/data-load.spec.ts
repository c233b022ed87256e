/** Files of every kind, whole and damaged, and where they come from. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import { loadDataset, type LoadDatasetOptions, parseJson } from '../index.js'
import { jsonText } from '../src/data/json-source.js'
import { failsWith, fixtures, rng, root, temp } from './support.js'

type Fields = Record<string, unknown>

function file(name: string, content: string | Buffer): string {
  const path = join(temp(), name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
  return path
}

const raw = (path: string | string[], options: LoadDatasetOptions = {}) => loadDataset<Fields>(path, { format: 'raw', strict: true, ...options })
const rows = (path: string | string[], options: LoadDatasetOptions = {}) => raw(path, options).toArray()

test('numbers and the order of keys survive where JavaScript would change them', t => {
  const texts = [
    '{"a":21.0}', '{"a":[1,1e-07,1e+16]}', '{"b":1,"10":2,"1":3}', '{"big":9007199254740993}', '{"x":{"y":-0.0}}', '[1.0]', '{"s":"1.0","t":"é\\"\\\\"}', '{"":0.10}',
    '{"a":{"b":1.5},"c":[{"d":2.50}]}', '{"__proto__":1.0,"__proto__x":2}',
  ]
  for (const text of texts) {
    t.is(jsonText(parseJson(text)), text)
    t.deepEqual(parseJson(text), JSON.parse(text))
    t.is(jsonText({ inside: [parseJson(text)] }), `{"inside":[${text}]}`)
  }
  t.is(jsonText(parseJson(' { "a" : 1.50 , "b" : [ ] } ')), '{ "a" : 1.50 , "b" : [ ] }')
})

test('what is changed is written as it is, and what is not changed as it was', t => {
  const value = parseJson('{"a":{"x":1.0,"y":2},"b":{"2":1.0,"1":5}}') as Record<string, Record<string, number>>
  value.a.y = 3
  t.is(jsonText(value), '{"a":{"x":1,"y":3},"b":{"2":1.0,"1":5}}')
  value.a.y = 2
  t.is(jsonText(value), '{"a":{"x":1.0,"y":2},"b":{"2":1.0,"1":5}}')
  t.is(jsonText({ ...value, c: 1n, d: undefined, e: new Date(0) }), '{"a":{"x":1.0,"y":2},"b":{"2":1.0,"1":5},"c":1,"e":"1970-01-01T00:00:00.000Z"}')
})

test('what a template will see of rows is as the file has it', async t => {
  const row = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "f", "arguments": {"to": 22.0, "2": 1e-07, "1": null}}}]}], "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": 21.0, "10": {}, "2": {}}}}]}'
  const columns = '{"query": "q", "response": "a", "tools": "[{\\"default\\": 21.0}]"}'
  const [[called], [asked]] = await Promise.all([row, columns].map(text => loadDataset<Fields>(file('a.jsonl', text)).toArray()))
  t.regex(jsonText(called.messages), /"arguments":\{"to": 22\.0, "2": 1e-07, "1": null\}/)
  t.is(jsonText(called.tools), '[{"type": "function", "function": {"name": "f", "parameters": {"default": 21.0, "10": {}, "2": {}}}}]')
  t.is(jsonText(asked.tools), '[{"default": 21.0}]')
})

test('JSON that is none, or too deep, is an error', async t => {
  for (const text of ['', '{', '[1,]', 'NaN', '['.repeat(100_000), `${'['.repeat(600)}${']'.repeat(600)}`, '{"a":1}x']) await failsWith(t, 'ERR_DATASET', () => parseJson(text))
  t.notThrows(() => parseJson(`${'['.repeat(512)}${']'.repeat(512)}`))
  t.notThrows(() => parseJson(JSON.stringify('['.repeat(1000))))
  const loop: Fields = {}
  loop.loop = loop
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => jsonText(loop))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => jsonText({ a: NaN }))
})

/** Rows larger than a piece of a file, with all that JSON escapes. */
const many = Array.from({ length: 3000 }, (_, i) => ({ i, text: `row ${i} "quoted" \\ {[ é 🇨🇭 \n`.repeat(1 + i % 40), deep: [{ a: [i, []] }] }))

test('arrays and lines of JSON are read in pieces', async t => {
  t.deepEqual(await rows(file('a.json', JSON.stringify(many))), many)
  t.deepEqual(await rows(file('a.json', JSON.stringify(many, null, 2))), many)
  t.deepEqual(await rows(file('a.json', many.map(row => JSON.stringify(row)).join('\n'))), many)
  t.deepEqual(await rows(file('a.jsonl', many.map(row => JSON.stringify(row)).join('\r\n'))), many)
  t.deepEqual(await rows(file('a.jsonl.gz', gzipSync(many.map(row => JSON.stringify(row)).join('\n')))), many)
  t.deepEqual(await rows(file('a.json', '\ufeff[]'), { strict: false }), [])
  t.regex((await failsWith(t, 'ERR_DATASET', () => rows(file('a.json', '\ufeff[]')))).message, /a\.json: no rows/)
  t.deepEqual(await rows(file('a.jsonl', '\ufeff{"a":1}\n\n  \n{"a":2}')), [{ a: 1 }, { a: 2 }])
})

test('a damaged file is an error, and a bad row is named by its line', async t => {
  const fails = async (name: string, content: string | Buffer, message: RegExp, code = 'ERR_DATASET') => {
    t.regex((await failsWith(t, code, () => rows(file(name, content)))).message, message)
  }
  await fails('a.json', '[{"a":1},{"a":', /cut off after row 0/)
  await fails('a.json', '[{"a":1}{"a":2}]', /line 1: expected a comma or the end of the array/)
  await fails('a.json', '[{"a":1}]\n{"a":2}', /line 2: more after the end of the array/)
  await fails('a.json', '[\n{"a":1},\n{"a":x}]', /a\.json:3: JSON: /)
  await fails('a.json', '[1, 2]', /a\.json:1: expected an object, found 1/)
  await fails('a.jsonl', '{"a":1}\n{"a":', /a\.jsonl:2: JSON: /)
  await fails('a.jsonl', Buffer.from('{"a":"\xe9"}', 'latin1'), /a\.jsonl:1: not UTF-8/)
  await fails('a.jsonl', Buffer.from('\ufeff{"a":1}', 'utf16le'), /UTF-16 text; expected UTF-8/)
  await fails('a.jsonl.gz', gzipSync('{"a":1}\n'.repeat(10_000)).subarray(0, 60), /damaged gzip/)
  await fails('a.csv', 'a,b\n1,2\n1,2,3\n', /a\.csv:3: 3 fields where the first line names 2 columns/)
  await fails('a.csv', 'a,a\n1,2\n', /two columns are called "a"/)
  await fails('a.csv', 'a,b\n"1,2\n', /a\.csv: Quote Not Closed/)
  await fails('a.parquet', 'PAR1 no PAR1', /the footer/)
  await fails('a.xlsx', 'x', /expected a file that ends in/)
})

test('a row of more than 64 MiB is passed over', async t => {
  const long = Buffer.concat([Buffer.from('{"a":1}\n{"a":"'), Buffer.alloc(64 * 2 ** 20, 0x61), Buffer.from('"}\n{"a":2}\n')])
  const data = raw(file('a.jsonl', long), { strict: false })
  t.deepEqual(await data.toArray(), [{ a: 1 }, { a: 2 }])
  t.is(data.skipped, 1)
  t.regex((await failsWith(t, 'ERR_DATASET', () => rows(file('a.json', Buffer.concat([Buffer.from('[{"a":"'), Buffer.alloc(64 * 2 ** 20, 0x61), Buffer.from('"}]')]))))).message, /a\.json:1: a row of more than 64 MiB/)
})

test('fields of CSV are texts, whatever quotes hold', async t => {
  const wanted = [{ a: 'x, "y"\nz', b: '' }, { a: ' 1 ', b: 'it"s' }]
  t.deepEqual(await rows(file('a.csv', '\ufeffa,b\r\n"x, ""y""\nz",\r\n 1 ,it"s\r\n')), wanted)
  t.deepEqual(await rows(file('a.tsv', 'a\tb\n"x, ""y""\nz"\t\n 1 \tit"s\n')), wanted)
  t.deepEqual(await rows(file('a.csv.gz', gzipSync('a,b\n"x, ""y""\nz",\n 1 ,it"s\n'))), wanted)
  t.deepEqual(await rows(file('a.txt', 'one\r\n\ntwo')), [{ text: 'one' }, { text: '' }, { text: 'two' }])
})

test('a damaged Parquet file is an error', async t => {
  const whole = readFileSync(join(fixtures, 'datasets/openai-parquet/zstd-row-groups.parquet'))
  const group = Buffer.from(whole)
  group.fill(0xff, 4, 200)
  t.regex((await failsWith(t, 'ERR_DATASET', () => rows(file('a.parquet', group)))).message, /a\.parquet: row group 0: /)
  const cut = file('a.parquet', whole)
  truncateSync(cut, whole.length - 9)
  await failsWith(t, 'ERR_DATASET', () => rows(cut))
})

test('no more is read than rows are asked for', async t => {
  const lines = `${JSON.stringify({ a: 'x'.repeat(1000) })}\n`.repeat(5000)
  const noise = rng(1)
  const damaged = gzipSync(Buffer.concat([Buffer.from(lines), Buffer.from(Array.from({ length: 2 ** 20 }, () => noise() * 256))])).subarray(0, -(2 ** 18))
  const path = file('a.jsonl.gz', damaged)
  t.is((await raw(path).take(3).toArray()).length, 3)
  await failsWith(t, 'ERR_DATASET', () => raw(path, { strict: false }).toArray())
  let given = 0
  const endless = { *[Symbol.iterator]() { for (;;) yield { text: `${given++}` } } }
  t.is((await loadDataset(endless, { format: 'text' }).take(5).toArray()).length, 5)
  t.true(given <= 256)
})

test('a file that is larger than the heap is read, in any form', t => {
  const line = JSON.stringify({ text: 'x'.repeat(10_000) })
  const lines = 12_000
  const script = (path: string) => `
    const { loadDataset } = require(${JSON.stringify(join(root, 'dist/index.js'))});
    (async () => { let n = 0; for await (const row of loadDataset(${JSON.stringify(path)}, { format: 'text', strict: true })) n += row.text.length; console.log(n) })()`
  const files = [['a.jsonl', `${line}\n`.repeat(lines)], ['a.json', `[${`${line},\n`.repeat(lines - 1)}${line}]`], ['a.csv', `text\n${`${'x'.repeat(10_000)}\n`.repeat(lines)}`]]
  for (const [name, text] of files) t.is(execFileSync(process.execPath, ['--max-old-space-size=64', '-e', script(file(name, text))], { encoding: 'utf8' }).trim(), String(lines * 10_000), name)
})

test('rows of a program: as often as the source gives them', async t => {
  const wanted = [{ text: 'a' }]
  async function *generated() { yield *wanted }
  const text = { format: 'text' } as const
  for (const source of [wanted, generated, new Set(wanted)]) {
    const data = loadDataset(source, text)
    t.deepEqual<unknown, unknown>([await data.toArray(), await data.toArray()], [wanted, wanted])
  }
  const once = loadDataset(generated(), text)
  t.deepEqual<unknown, unknown>(await once.toArray(), wanted)
  await failsWith(t, 'ERR_INVALID_STATE', () => once.toArray())
})

test('an abort ends an iteration', async t => {
  const stop = new AbortController()
  const seen: unknown[] = []
  const reason = new Error('enough')
  await t.throwsAsync(async () => {
    for await (const row of loadDataset(many, { format: 'raw', signal: stop.signal })) {
      seen.push(row)
      if (seen.length === 3) stop.abort(reason)
    }
  }, { is: reason })
  t.is(seen.length, 3)
})

test('a list, a folder, a pattern, a split', async t => {
  const folder = temp()
  const put = (name: string) => {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), JSON.stringify({ name }))
  }
  for (const name of ['data/train-00001-of-00002.jsonl', 'data/train-00000-of-00002.jsonl', 'data/test_sft-00000-of-00001.jsonl', 'data/dev.jsonl', '.hidden.jsonl', 'dataset_infos.json', 'LICENSE.txt', 'README.md']) put(name)
  const names = async (source: string | string[], options: LoadDatasetOptions = {}) => (await rows(source, options)).map(row => row.name)
  const train = ['data/train-00000-of-00002.jsonl', 'data/train-00001-of-00002.jsonl']
  t.deepEqual(await names(folder), train)
  t.deepEqual(await names(folder, { split: 'test_sft' }), ['data/test_sft-00000-of-00001.jsonl'])
  t.deepEqual(await names(folder, { split: 'validation' }), ['data/dev.jsonl'])
  t.deepEqual(await names(folder, { files: 'data/{dev,train-00001*}.jsonl' }), ['data/dev.jsonl', 'data/train-00001-of-00002.jsonl'])
  t.deepEqual(await names(join(folder, '**/train-*.jsonl')), train)
  t.deepEqual(await names([join(folder, 'data/dev.jsonl'), join(folder, 'data/[t]est*')]), ['data/dev.jsonl', 'data/test_sft-00000-of-00001.jsonl'])
  t.regex((await failsWith(t, 'ERR_IO', () => names(folder, { split: 'holdout' }))).message, /no split holdout; give one of .*train/)
  put('data/train.csv')
  t.regex((await failsWith(t, 'ERR_IO', () => names(folder))).message, /several kinds \(csv, jsonl\)/)
  await failsWith(t, 'ERR_IO', () => names(join(folder, 'nothing.jsonl')))
  await failsWith(t, 'ERR_IO', () => names(join(folder, '*.parquet')))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => names(join(folder, 'data/dev.jsonl'), { split: 'train' }))
})

test('a pipe and a device are refused', async t => {
  if (process.platform === 'win32') return t.pass('there are none')
  const pipe = join(temp(), 'a.jsonl')
  execFileSync('mkfifo', [pipe])
  await failsWith(t, 'ERR_UNSAFE_FILE', () => rows(pipe))
  const device = join(temp(), 'a.jsonl')
  execFileSync('ln', ['-s', '/dev/zero', device])
  await failsWith(t, 'ERR_UNSAFE_FILE', () => rows(device))
})

const COMMIT = '0123456789abcdef0123456789abcdef01234567'

test.serial('a repository of either hub: only its data files are fetched, into the layouts of Python\'s packages', async t => {
  const files: Record<string, string> = { 'data/train.jsonl': '{"text":"a"}\n', 'data/test.jsonl': '{"text":"b"}\n', 'README.md': '# x', 'weights.bin': 'x' }
  const seen: string[] = []
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://hub')
    seen.push(url.pathname + (url.searchParams.get('FilePath') ?? ''))
    const answer = (value: unknown) => response.end(typeof value === 'string' ? value : JSON.stringify(value))
    const hash = (text: string) => createHash('sha256').update(text).digest('hex')
    if (url.pathname === '/api/datasets/org/rows/revision/main') {
      return answer({ sha: COMMIT, siblings: Object.entries(files).map(([rfilename, text]) => ({ rfilename, size: text.length, lfs: { sha256: hash(text) } })) })
    }
    if (url.pathname === '/api/v1/datasets/org/rows/repo/tree') {
      const all = Object.entries(files).map(([Path, text]) => ({ Path, Type: 'blob', Size: text.length, Sha256: hash(text) }))
      // 200 entries a page, of which the last are the data.
      const filler = Array.from({ length: 200 }, (_, i) => ({ Path: `images/${i}.png`, Type: 'blob' }))
      return answer({ Code: 200, Data: { Files: url.searchParams.get('PageNumber') === '1' ? filler : all } })
    }
    const path = url.pathname === '/api/v1/datasets/org/rows/repo' ? url.searchParams.get('FilePath')! : url.pathname.replace(`/datasets/org/rows/resolve/${COMMIT}/`, '')
    if (files[path] === undefined) return response.writeHead(404).end()
    return answer(files[path])
  }).listen(0, '127.0.0.1')
  await new Promise(done => server.once('listening', done))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  try {
    for (const [hub, place] of [['huggingface', `datasets--org--rows/snapshots/${COMMIT}`], ['modelscope', 'datasets/org--rows/snapshots/master']] as const) {
      const cacheDirectory = temp()
      seen.length = 0
      const data = loadDataset<Fields>('org/rows', { hub, endpoint, cacheDirectory, format: 'text' })
      t.deepEqual(await data.toArray(), [{ text: 'a' }])
      t.true(existsSync(join(cacheDirectory, place, 'data/train.jsonl')))
      t.false(seen.some(url => /README|weights|png|test/.test(url)), seen.join())
      const requests = seen.length
      t.deepEqual(await data.toArray(), [{ text: 'a' }])
      t.is(seen.length, requests, 'one look at the hub for all epochs')
      const test = (localFilesOnly: boolean) => loadDataset<Fields>('org/rows', { hub, endpoint, cacheDirectory, format: 'text', localFilesOnly, split: 'test' }).toArray()
      await failsWith(t, 'ERR_IO', () => test(true))
      t.deepEqual([await test(false), await test(true)], [[{ text: 'b' }], [{ text: 'b' }]])
    }
    await failsWith(t, 'ERR_HUB', () => loadDataset('org/absent', { hub: 'huggingface', endpoint, cacheDirectory: temp() }).toArray())
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

test('a copy of the fixtures is read like them, links and all', async t => {
  if (process.platform === 'win32') return t.pass('links need rights')
  const folder = temp()
  cpSync(join(fixtures, 'datasets/text/data.jsonl'), join(folder, 'blob'))
  execFileSync('ln', ['-s', join(folder, 'blob'), join(folder, 'rows.jsonl')])
  t.is((await rows(folder)).length, 12)
})
