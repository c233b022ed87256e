/** safetensors headers and data that lie, break off, or are something else. */
import { gzipSync } from 'node:zlib'
import type { Base } from '../base.js'
import type { Case, Expected } from '../case.js'
import { json, text } from '../contents.js'
import { state } from '../pickle.js'
import { type Entry, headerText, padded, parts, raw, SIZES, tensor, type Tensors, u64, values, written } from '../safetensors.js'

const FILE = 'adapter_model.safetensors'

export function* safetensors(base: Base): Generator<Case> {
  const lora = base.lora()
  const good = written(lora)
  const { header, data } = parts(lora)
  const [first, second] = header.keys()
  const size = good.length - data.length - 8
  const plain = headerText(header)

  /** The file under the name of an adapter's weights; an error names the file. */
  function one(name: string, weights: Buffer, why: string, { outcome = 'error', kind = outcome === 'error' ? 'corrupt_file' : '', mention = [], ...more }: Expected = {}): Case {
    const named = outcome === 'error' ? [FILE, ...mention] : mention
    return { name: `st-${name}`, what: 'load_adapter', args: { adapter: 'adapter' }, outcome, kind, mention: named, why, files: base.peftFolder({ weights }), ...more }
  }
  /** The first tensor's fields are others. */
  const edited = (change: Entry) => raw(new Map([...header, [first, { ...header.get(first), ...change }]]), data)
  /** A header as it stands, before the data. */
  const headed = (bytes: Buffer | string) => raw(Buffer.from(bytes), data)
  const before = (more: Record<string, unknown>) => raw(padded(text(`${json(more).toString().slice(0, -1)},${plain.slice(1)}`)), data)

  yield one('control', good, 'an untouched adapter loads', { outcome: 'ok', modules: base.modules })
  yield one('empty-file', Buffer.alloc(0), 'zero bytes')
  yield one('seven-bytes', good.subarray(0, 7), 'shorter than the length field')
  yield one('length-only', u64(size), 'the header is missing')
  yield one('length-zero', Buffer.concat([u64(0), good.subarray(8)]), 'an empty header is not JSON')
  const lengths: [string, number | bigint][] = [
    ['max', 2n ** 64n - 1n], ['sign-bit', 2n ** 63n], ['over-cap', 100_000_001], ['past-end', good.length], ['minus-one', size - 1], ['plus-one', size + 1],
    ['usize-wrap', 2n ** 64n - 8n],
  ]
  for (const [name, length] of lengths) yield one(`length-${name}`, Buffer.concat([u64(length), good.subarray(8)]), `a header of ${length} bytes`)

  const headers: [string, Buffer | string, string][] = [
    ['not-utf8', Buffer.from('{"\xff\xfe":1}', 'latin1'), 'the header is not UTF-8'], ['not-json', 'not json at all ', 'plain text'], ['array', '[1, 2, 3]       ', 'a JSON array'],
    ['null', 'null    ', 'JSON null'], ['number', '42      ', 'a JSON number'], ['cut-json', plain.slice(0, -2), 'the JSON breaks off'],
    ['two-documents', `${plain}{}`, 'JSON, then more JSON'], ['deep', '{"a":'.repeat(50_000) + '1' + '}'.repeat(50_000), '50,000 levels must not overflow the stack'],
    ['deep-array', `{"a":${'['.repeat(200_000)}`, '200,000 open brackets'], ['nan', plain.replace('[0,', '[NaN,'), 'NaN as an offset'],
  ]
  for (const [name, bytes, why] of headers) yield one(`header-${name}`, headed(bytes), why)
  const again = json({ [first]: { ...header.get(first), shape: [1, 1] } }).toString()
  yield one('duplicate-key', headed(`${again.slice(0, -1)},${plain.slice(1)}`), 'one tensor twice: two readers could see two files')
  yield one('duplicate-metadata', headed(`{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"},${plain.slice(1)}`), 'metadata twice')

  const [begin, end] = header.get(first)!.data_offsets as [number, number]
  const fields: [string, Entry, string][] = [
    ['dtype-unknown', { dtype: 'F99' }, 'a dtype that nobody defined'], ['dtype-number', { dtype: 32 }, 'a dtype that is a number'],
    ['dtype-missing', { dtype: undefined }, 'no dtype'], ['shape-missing', { shape: undefined }, 'no shape'], ['offsets-missing', { data_offsets: undefined }, 'no offsets'],
    ['shape-negative', { shape: [-4, -64] }, 'negative sizes'], ['shape-fraction', { shape: [4.5, 64] }, 'a size that is no integer'], ['shape-string', { shape: '4x64' }, 'a string'],
    ['shape-overflow', { shape: [2 ** 32, 2 ** 32, 2] }, 'the number of elements overflows 64 bits'], ['shape-dtype-overflow', { shape: [2n ** 62n] }, 'elements times their size overflow'],
    ['shape-over-u64', { shape: [2n ** 64n] }, 'a size above 64 bits'], ['shape-too-big', { shape: [4096, 4096] }, 'more bytes than the range has'],
    ['shape-too-small', { shape: [1, 1] }, 'fewer bytes than the range has'], ['offsets-reversed', { data_offsets: [end, begin] }, 'the end before the begin'],
    ['offsets-negative', { data_offsets: [-16, 16] }, 'a negative offset'], ['offsets-past-end', { data_offsets: [0, data.length * 4], shape: [data.length] }, 'a range beyond the file'],
    ['offsets-one', { data_offsets: [0] }, 'one offset'], ['offsets-three', { data_offsets: [0, 4, 8] }, 'three offsets'],
    ['offsets-overlap', { data_offsets: header.get(second)!.data_offsets, shape: header.get(second)!.shape }, 'two tensors share bytes'],
    ['dtype-width', { dtype: 'F16' }, 'the dtype disagrees with the range'],
  ]
  for (const [name, change, why] of fields) yield one(name, edited(change), why)

  const shifted = new Map([...header].map(([name, entry]) => [name, { ...entry, data_offsets: (entry.data_offsets as number[]).map(at => at + 8) }]))
  yield one('hole-start', raw(shifted, Buffer.concat([Buffer.alloc(8), data])), 'eight bytes first that nobody claims: a file of two formats')
  yield one('hole-end', Buffer.concat([good, text('PK\x05\x06'), Buffer.alloc(18)]), 'the end of a zip behind the data: a file of two formats')
  yield one('trailing-byte', Buffer.concat([good, Buffer.alloc(1)]), 'a byte too many')
  yield one('hole-middle', raw(new Map([...header].filter(([name]) => name !== second)), data), 'bytes that no tensor claims')
  for (const [name, at] of [['last-byte', good.length - 1], ['half', Math.floor(good.length / 2)], ['in-header', 8 + Math.floor(size / 2)], ['after-header', 8 + size]] as const) {
    yield one(`cut-${name}`, good.subarray(0, at), `a download that stopped (${name})`)
  }
  const huge = 2n ** 61n - 1n
  const wraps = Array.from({ length: 8 }, (_, i): [string, Entry] => [`t${i}`, { dtype: 'U8', shape: [huge], data_offsets: [BigInt(i) * huge, BigInt(i + 1) * huge] }])
  yield one('sum-overflow', raw(new Map(wraps)), 'each range is legal, their sum and the header wrap 64 bits')
  const shared = Array.from({ length: 50_000 }, (_, i): [string, Entry] => [`w${i}`, { dtype: 'F32', shape: [200, 200], data_offsets: [0, 160_000] }])
  yield one('overlap-bomb', raw(new Map(shared), Buffer.alloc(160_000)), '50,000 tensors on one range would be 8 GB')
  const empties = Array.from({ length: 50_000 }, (_, i): [string, Entry] => [`e${i}`, { dtype: 'F32', shape: [0], data_offsets: [0, 0] }])
  yield one('empty-tensors', raw(new Map([...empties, ...header]), data), '50,000 tensors without bytes', { outcome: 'warning', mention: ['e0'] })

  yield one('metadata-not-object', before({ __metadata__: [1] }), 'metadata must be an object')
  yield one('metadata-not-string', before({ __metadata__: { a: 1 } }), 'values of metadata must be strings')
  yield one('metadata-4mb', before({ __metadata__: { a: 'x'.repeat(2 ** 22) } }), 'much metadata, but legal', { outcome: 'ok' })
  yield one('unaligned-header', headed(`${plain}     `), 'data need not be aligned', { outcome: 'ok' })

  for (const dtype of ['F16', 'BF16', 'F64']) yield one(`dtype-${dtype.toLowerCase()}`, written(base.lora({ dtype })), 'another float is converted', { outcome: 'ok' })
  const replaced = (change: Partial<Tensors extends Map<string, infer T> ? T : never>) => written(new Map([...lora, [first, { ...lora.get(first)!, ...change }]]))
  for (const dtype of ['I64', 'BOOL', 'U8']) {
    const bytes = Buffer.alloc((lora.get(first)!.bytes.length / 4) * SIZES[dtype])
    yield one(`weights-${dtype.toLowerCase()}`, replaced({ dtype, bytes }), 'the matrix of a LoRA must be of floats', { kind: 'dtype', mention: [first] })
  }
  const names: [string, string][] = [
    ['', 'an empty name'], ['__proto__', 'a name that is special in JavaScript'], ['constructor', 'another one'], ['x'.repeat(60_000), 'a name of 60,000 characters'],
    ['\x1b[2Jowned', 'what steers a terminal must not reach the log'], ['a\nERROR fake line', 'a line break must not forge a line of the log'],
  ]
  for (const [i, [name, why]] of names.entries()) {
    yield one(`name-${i}`, written(new Map([...lora, [name, tensor([2])]])), why, {
      outcome: 'warning', mention: ['unexpected'], mustNotContain: ['\x1b', '\nERROR fake line'], mustNotPollute: true,
    })
  }
  const others: [string, Buffer][] = [
    ['git-lfs', text(`version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 16352\n`)], ['html', text('<!DOCTYPE html><html><body>404 Not Found</body></html>')],
    ['gguf', Buffer.concat([text('GGUF'), Buffer.from([3, 0, 0, 0]), Buffer.alloc(16)])], ['zip', state(lora)], ['gzip', gzipSync(good, { level: 9 })],
  ]
  for (const [name, bytes] of others) yield one(`is-${name}`, bytes, `another kind of file under this name (${name})`, { mention: name === 'git-lfs' ? ['lfs'] : [] })
  const legal: [string, (number | bigint)[], Buffer][] = [
    ['zero-rank', [0, 64], Buffer.alloc(0)], ['zero-times-huge', [0, 2n ** 63n - 1n, 2n ** 63n - 1n], Buffer.alloc(0)], ['scalar', [], values([1])],
    ['rank-5000', [...Array.from({ length: 5000 }, () => 1), 4, 64], values([4, 64])],
  ]
  for (const [name, shape, bytes] of legal) {
    yield one(`shape-${name}`, replaced({ shape, bytes }), `a legal file in which the matrix of a LoRA has the shape ${name}`, { kind: 'shape_mismatch', mention: [first] })
  }
  yield one('shape-huge-times-zero', replaced({ shape: [2n ** 63n - 1n, 2n ** 63n - 1n, 0], bytes: Buffer.alloc(0) }), 'the product overflows before it is zero')
}
