/** Pickles and the archives of `torch.save`, byte by byte: no Python is needed to write what attacks Python. */
import { text } from './contents.js'
import type { Tensors } from './safetensors.js'
import { type Member, zip } from './zip.js'

const join = (...items: (Buffer | string)[]) => Buffer.concat(items.map(item => (typeof item === 'string' ? Buffer.from(item, 'latin1') : item)))
/** Opcodes are given as latin-1 text. */
export const ops = join

export function unicode(value: string): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  return join('X', length, bytes)
}

function integer(value: number): Buffer {
  if (value >= 0 && value < 256) return join('K', Buffer.from([value]))
  const out = Buffer.alloc(8)
  if (value >= -(2 ** 31) && value < 2 ** 31) {
    out.writeInt32LE(value)
    return join('J', out.subarray(0, 4))
  }
  out.writeBigInt64LE(BigInt(value))
  return join('\x8a\x08', out)
}

const tuple = (...items: Buffer[]) => join('(', ...items, 't')
const global = (module: string, name: string) => `c${module}\n${name}\n`

export interface Layout {
  offset?: number
  /** Elements of the storage. */
  numel: number
}

/** `torch._utils._rebuild_tensor_v2` on the storage `key`. */
export function rebuilt(key: string, shape: number[], stride: number[], { offset = 0, numel }: Layout): Buffer {
  const storage = join(tuple(unicode('storage'), join(global('torch', 'FloatStorage')), unicode(key), unicode('cpu'), integer(numel)), 'Q')
  const sizes = (dims: number[]) => tuple(...dims.map(integer))
  const hooks = join('\x89', global('collections', 'OrderedDict'), ')R')
  return join(global('torch._utils', '_rebuild_tensor_v2'), tuple(storage, integer(offset), sizes(shape), sizes(stride), hooks), 'R')
}

export const dict = (items: [string, Buffer][]) => join('\x80\x02}(', ...items.flatMap(([key, value]) => [unicode(key), value]), 'u.')

/** Calls `module.name(...args)` where it is loaded the unsafe way. */
export const calling = (module: string, name: string, ...args: string[]) => join('\x80\x02', global(module, name), tuple(...args.map(unicode)), 'R.')

/** The archive of `torch.save`: data.pkl and one member per storage. */
export function archive(pickle: Buffer, storages: [string, Buffer][] = [], more: Member[] = []): Buffer {
  const member = (name: string, bytes: Buffer) => ({ name: `archive/${name}`, bytes })
  return zip([
    member('data.pkl', pickle), member('byteorder', text('little')), ...storages.map(([key, bytes]) => member(`data/${key}`, bytes)),
    member('version', text('3\n')), ...more,
  ])
}

/** A file of F32 tensors that harms nobody. */
export function state(tensors: Tensors): Buffer {
  const all = [...tensors].map(([name, { shape, bytes }]) => ({ name, shape: shape.map(Number), bytes }))
  const stride = (shape: number[]) => (shape.length === 2 ? [shape[1], 1] : [1])
  const items = all.map(({ name, shape, bytes }, i): [string, Buffer] => [name, rebuilt(String(i), shape, stride(shape), { numel: bytes.length / 4 })])
  return archive(dict(items), all.map(({ bytes }, i) => [String(i), bytes]))
}
