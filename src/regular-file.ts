/** Small files of strangers, read in TypeScript. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { SwiftTunersError } from './errors.js'
import { printable } from './text.js'

/** Of a configuration, in bytes. */
const MOST = 16 * 2 ** 20

/**
 * @internal The text of a regular file of at most 16 MiB. A pipe or a device, which may have no end or never begin, is ERR_UNSAFE_FILE; what the system says is ERR_IO.
 */
export async function readRegular(file: string): Promise<string> {
  const failed = (code: 'ERR_IO' | 'ERR_UNSAFE_FILE', message: string, cause?: unknown) =>
    new SwiftTunersError(code, `${printable(file)}: ${message}`, { cause, details: { path: file } })
  // Opening a pipe would wait for a writer; Windows has no such flag.
  const opened = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch((cause: unknown) => { throw failed('ERR_IO', (cause as Error).message, cause) })
  try {
    const stat = await opened.stat()
    if (!stat.isFile()) throw failed('ERR_UNSAFE_FILE', 'not a regular file')
    if (stat.size > MOST) throw failed('ERR_UNSAFE_FILE', `${stat.size} bytes are more than the ${MOST} allowed here`)
    return await opened.readFile('utf8')
  } finally {
    await opened.close()
  }
}
