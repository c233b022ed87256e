/** What tensors a folder's files hold, without their values. */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { SwiftTunersError } from '../errors.js'
import { isObject } from '../options.js'
import { printable } from '../text.js'

/** A tensor in a file. */
export interface StoredTensor {
  name: string
  shape: number[]
  dtype: string
  numel: number
  /** In bytes. */
  size: number
}

/** As the format allows, in bytes. */
const MOST = 100 * 2 ** 20

/** The tensors of one file. Fails with ERR_CHECKPOINT_CORRUPT. */
export function readHeader(file: string): StoredTensor[] {
  const corrupt = (why: string) => new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${printable(file)}: ${why}`, { details: { path: file } })
  const handle = openSync(file, 'r')
  try {
    const { size } = fstatSync(handle)
    const length = Buffer.alloc(8)
    if (size < 8 || readSync(handle, length, 0, 8, 0) !== 8) throw corrupt('too short for a header')
    const bytes = Number(length.readBigUInt64LE())
    if (bytes > MOST || bytes + 8 > size) throw corrupt(`a header of ${bytes} bytes in a file of ${size}`)
    const text = Buffer.alloc(bytes)
    readSync(handle, text, 0, bytes, 8)
    return tensors(JSON.parse(text.toString('utf8')), corrupt)
  } catch (error) {
    throw error instanceof SyntaxError ? corrupt('its header is no JSON') : error
  } finally {
    closeSync(handle)
  }
}

function tensors(header: unknown, corrupt: (why: string) => Error): StoredTensor[] {
  if (!isObject(header)) throw corrupt('its header is no object')
  return Object.entries(header).filter(([name]) => name !== '__metadata__').map(([name, value]) => {
    const { dtype, shape, data_offsets: offsets } = value as { dtype?: unknown; shape?: unknown; data_offsets?: unknown }
    const numbers = (list: unknown): list is number[] => Array.isArray(list) && list.every(n => Number.isSafeInteger(n) && n >= 0)
    if (typeof dtype !== 'string' || !numbers(shape) || !numbers(offsets) || offsets.length !== 2) throw corrupt(`${printable(name)}: no tensor`)
    return { name, shape, dtype: dtype.toLowerCase(), numel: shape.reduce((a, b) => a * b, 1), size: offsets[1] - offsets[0] }
  })
}

/** The tensors of a model's folder, of all its files; nothing where it has no safetensors. */
export function storedTensors(folder: string): StoredTensor[] {
  if (!existsSync(folder)) return []
  const files = readdirSync(folder).filter(name => /^(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors$/.test(name)).sort()
  return files.flatMap(name => readHeader(join(folder, name)))
}
