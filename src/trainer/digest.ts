import { createHash } from 'node:crypto'
import type { ModelInputs } from '../inputs.js'
import { Tensor } from '../tensor.js'

/**
 * A name for all batches up to this one, from the name for those before: two runs that have the same have seen the same data in the same
 * order.
 */
export async function digest(before: string, batch: ModelInputs): Promise<string> {
  const hash = createHash('sha1').update(before)
  for (const [name, value] of Object.entries(batch).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (value === undefined || value === null) continue
    hash.update(`\n${name} `)
    if (value instanceof Tensor) {
      hash.update(`${value.dtype} ${value.shape.join()} `)
      hash.update(bytes(await value.data()))
    } else if (ArrayBuffer.isView(value)) hash.update(bytes(value))
    else hash.update(JSON.stringify(value))
  }
  return hash.digest('hex')
}

const bytes = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
