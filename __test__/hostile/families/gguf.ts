/** GGUF files, which this library does not read: each is refused by name, whatever it holds. */
import type { Case } from '../case.js'
import { text } from '../contents.js'
import { u64 } from '../safetensors.js'

function u32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return out
}

const named = (value: string) => Buffer.concat([u64(value.length), text(value)])
const [ARRAY, UINT32] = [9, 4]

interface Parts {
  magic?: string
  version?: number
  tensors?: number | bigint
  entries?: number | bigint
  /** Metadata, then descriptions of tensors. */
  body?: Buffer[]
}

function file({ magic = 'GGUF', version = 3, tensors = 0, entries = 0, body = [] }: Parts = {}): Buffer {
  return Buffer.concat([text(magic), u32(version), u64(tensors), u64(entries), ...body, Buffer.alloc(256)])
}

interface Info {
  dims?: number[]
  kind?: number
  offset?: number | bigint
  /** How many dimensions it says that it has. */
  count?: number
}

function info({ dims = [32], kind = 0, offset = 0, count = dims.length }: Info = {}): Buffer {
  return Buffer.concat([named('w'), u32(count), ...dims.map(u64), u32(kind), u64(offset)])
}

export function* gguf(): Generator<Case> {
  const nested = Array.from({ length: 5000 }, () => [u32(ARRAY), u64(1)]).flat()
  const tensor = (given: Info) => file({ body: [info(given)], tensors: 1 })
  const aligned = (to: number) => file({ body: [named('general.alignment'), u32(UINT32), u32(to), info()], entries: 1, tensors: 1 })
  const cases: [string, Buffer, string][] = [
    ['magic', file({ magic: 'NOPE' }), 'another magic number'], ['version', file({ version: 99 }), 'an unknown version'], ['cut', file().subarray(0, 10), 'breaks off in the header'],
    ['tensor-count', file({ tensors: 2n ** 64n - 1n }), '2^64 - 1 tensors'], ['kv-count', file({ entries: 2n ** 63n }), '2^63 entries'],
    ['string-length', file({ body: [u64(2n ** 63n)], entries: 1 }), 'a string of 2^63 bytes'],
    ['array-length', file({ body: [named('a'), u32(ARRAY), u32(UINT32), u64(2n ** 62n)], entries: 1 }), 'an array of 2^62 values'],
    ['array-depth', file({ body: [named('a'), u32(ARRAY), ...nested, u32(UINT32), u64(0)], entries: 1 }), 'arrays, 5,000 in each other'],
    ['value-type', file({ body: [named('a'), u32(77)], entries: 1 }), 'an unknown type'], ['dims-count', tensor({ count: 2 ** 31 }), '2^31 dimensions'],
    ['dims-overflow', tensor({ dims: [2 ** 40, 2 ** 40] }), 'the number of elements overflows'], ['dims-huge', tensor({ dims: [2 ** 34] }), '64 GiB in a small file'],
    ['offset', tensor({ offset: 2n ** 63n }), 'data behind the file'], ['tensor-type', tensor({ kind: 250 }), 'an unknown quantisation'], ['align-zero', aligned(0), 'an alignment of 0 divides by zero'],
    ['align-three', aligned(3), 'an alignment of 3'], ['twice', file({ body: [info(), info()], tensors: 2 }), 'one tensor twice'],
  ]
  for (const [name, bytes, why] of cases) {
    yield { name: `gguf-${name}`, what: 'load_model', args: { model: 'model/model.gguf' }, outcome: 'error', kind: '', mention: ['model.gguf'], why, files: { 'model/model.gguf': bytes } }
  }
}
