/** Files of strangers, opened in TypeScript. */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { SwiftTunersError } from './errors.js'
import { printable } from './text.js'

/** Of a configuration, in bytes. */
const MOST = 16 * 2 ** 20

const failed = (file: string, code: 'ERR_IO' | 'ERR_UNSAFE_FILE', message: string, cause?: unknown) =>
  new SwiftTunersError(code, `${printable(file)}: ${message}`, { cause, details: { path: file } })

/** @internal Opens a regular file; pipes and devices, which could give bytes for ever or none, are ERR_UNSAFE_FILE, and what the system says is ERR_IO. */
export async function openRegular(file: string): Promise<FileHandle> {
  // Opening a pipe would wait for its other end; Windows has no such flag.
  const opened = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch((cause: unknown) => { throw failed(file, 'ERR_IO', (cause as Error).message, cause) })
  if ((await opened.stat()).isFile()) return opened
  await opened.close()
  throw failed(file, 'ERR_UNSAFE_FILE', 'not a regular file')
}

/** @internal The text of a regular file of at most 16 MiB. */
export async function readRegular(file: string): Promise<string> {
  const opened = await openRegular(file)
  try {
    const { size } = await opened.stat()
    if (size > MOST) throw failed(file, 'ERR_UNSAFE_FILE', `${size} bytes are more than the ${MOST} allowed here`)
    return await opened.readFile('utf8')
  } finally {
    await opened.close()
  }
}
