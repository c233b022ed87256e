/** Adapters' tensors: missing, surplus, misshapen, no numbers. */
import { type Base, RANK } from '../base.js'
import type { Case, Expected } from '../case.js'
import type { Files } from '../contents.js'
import { type StoredTensor, tensor, type Tensors, values, written } from '../safetensors.js'

const FILE = 'adapter_model.safetensors'

function one(name: string, files: Files, why: string, { outcome = 'warning', kind = '', mention = [], ...more }: Expected = {}): Case {
  return { name: `weights-${name}`, what: 'load_adapter', args: { adapter: 'adapter' }, outcome, kind, mention, why, files, ...more }
}

export function* weights(base: Base): Generator<Case> {
  const good = base.lora()
  const [q, { shape, bytes }] = good.entries().next().value as [string, StoredTensor]
  const columns = Number(shape[1])
  const of = (tensors: Tensors) => base.peftFolder({ weights: written(tensors) })
  const only = (keep: (name: string) => boolean) => of(new Map([...good].filter(([name]) => keep(name))))
  const also = (name: string, value: StoredTensor = good.get(q)!) => of(new Map([...good, [name, value]]))
  const without = (files: Files, path: string) => Object.fromEntries(Object.entries(files).filter(([name]) => name !== path))

  const gone: Expected = { outcome: 'error', kind: 'missing_file', mention: ['adapter_model'] }
  yield one('file-missing', without(base.peftFolder(), `adapter/${FILE}`), 'a config without weights', gone)
  yield one('file-missing-swift', without(base.swiftFolder(), `adapter/default/${FILE}`), 'SWIFT keeps random weights in silence', gone)
  const nothing: Expected = { outcome: 'error', kind: 'mismatch', mention: ['adapter_model'] }
  yield one('no-tensors', of(new Map()), 'a valid file without tensors would change nothing', nothing)
  yield one('one-missing', only(name => name !== q), 'a matrix is missing', { mention: [q] })
  yield one('b-missing', only(name => !name.includes('.lora_B.')), 'every B is missing', { mention: ['lora_B'] })
  yield one('unexpected', also('base_model.model.ghost.lora_A.weight'), 'a tensor too many', { mention: ['ghost'] })
  yield one('foreign', of(new Map([['ghost.weight', good.get(q)!]])), 'none of the tensors belongs here: it would change nothing, which Python does in silence', nothing)
  yield one('other-depth', also('base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight'), 'from a deeper model', { mention: ['layers.99'] })
  yield one('other-adapter-name', of(new Map([...good].map(([name, value]) => [name.replace('.lora_A.', '.lora_A.other.'), value]))), 'the keys have another adapter\'s name', { mention: ['other'] })
  for (const [name, dims] of [['transposed', [columns, RANK]], ['flat', [RANK * columns]], ['other-rank', [RANK * 2, columns]], ['other-width', [RANK, columns + 1]]] as const) {
    yield one(`shape-${name}`, also(q, tensor([...dims])), `the shape [${dims}]`, { outcome: 'error', kind: 'shape_mismatch', mention: [q, String(dims[0])] })
  }
  const floats = (value: number, count: number) => {
    const out = Buffer.alloc(4 * count)
    for (let i = 0; i < count; i++) out.writeFloatLE(value, 4 * i)
    return out
  }
  const f32 = (replaced: Buffer) => also(q, { dtype: 'F32', shape, bytes: replaced })
  for (const [name, value] of [['nan', NaN], ['inf', Infinity]] as const) yield one(name, f32(Buffer.concat([values([RANK, columns]).subarray(0, -4), floats(value, 1)])), `one value is ${value}`, { mention: [q] })
  yield one('denormal', f32(floats(1e-42, bytes.length / 4)), 'the smallest of numbers are numbers', { outcome: 'ok' })
  yield one('two-adapters', { ...base.swiftFolder(), ...base.swiftFolder({ name: 'second' }) }, 'both adapters of a folder load', { outcome: 'ok' })
  yield one('one-of-two-bad', { ...base.swiftFolder(), ...base.swiftFolder({ name: 'second', weights: Buffer.alloc(0) }) }, 'the good one must not stay behind', {
    outcome: 'error', kind: 'corrupt_file', mention: ['second'], mustLeaveBase: true,
  })
}
