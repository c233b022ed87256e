/** A file's bytes, unpacked where they are gzip. */
import { basename } from 'node:path'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { SwiftTunersError } from '../../errors.js'
import { openRegular } from '../../regular-file.js'
import { printable } from '../../text.js'
import { fileError } from '../place.js'

/** The most bytes of one row. */
export const MAX_ROW = 64 * 2 ** 20

/** A file's bytes in pieces, without a byte order mark. */
export async function *bytesOf(path: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
  let first = true
  for await (const chunk of unpacked(path)) {
    signal?.throwIfAborted()
    if (first && ((chunk[0] === 0xff && chunk[1] === 0xfe) || (chunk[0] === 0xfe && chunk[1] === 0xff))) throw fileError(path, 'UTF-16 text; expected UTF-8')
    yield first && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf ? chunk.subarray(3) : chunk
    first = false
  }
}

async function *unpacked(path: string): AsyncGenerator<Buffer> {
  const handle = await openRegular(path)
  const file = handle.createReadStream({ start: 0, highWaterMark: 2 ** 18 })
  try {
    const head = Buffer.alloc(2)
    await handle.read(head, 0, 2, 0)
    if (head[0] !== 0x1f || head[1] !== 0x8b) {
      yield *file as AsyncIterable<Buffer>
      return
    }
    if (!/\.gz$/i.test(path)) throw fileError(path, `gzip, and not what its name says; call it ${printable(basename(path))}.gz`)
    const gunzip = createGunzip({ chunkSize: 2 ** 18 })
    // Errors come out of the loop.
    pipeline(file, gunzip, () => {})
    yield *gunzip as AsyncIterable<Buffer>
  } catch (cause) {
    if (/^(Z_|ERR_BUFFER)/.test(String((cause as NodeJS.ErrnoException).code))) throw fileError(path, `damaged gzip: ${(cause as Error).message}`, cause)
    if (cause instanceof SwiftTunersError) throw cause
    throw new SwiftTunersError('ERR_IO', `${printable(path)}: ${(cause as Error).message}`, { cause, details: { path } })
  } finally {
    file.destroy()
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A text of UTF-8; `undefined` where it is none. */
export function decoded(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}
