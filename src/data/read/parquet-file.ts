/** A Parquet file's bytes and its footer. */
import type { AsyncBuffer, FileMetaData, ParquetParsers } from 'hyparquet' with { 'resolution-mode': 'import' }
import { openRegular } from '../../regular-file.js'

/** Least and greatest values are of no interest here, and may be cut anywhere. */
const OF_STATISTICS: Partial<ParquetParsers> = { stringFromBytes: () => undefined, jsonFromBytes: () => undefined }

/** The footer of a file. */
export async function footer(path: string): Promise<FileMetaData> {
  const { parquetMetadataAsync } = await import('hyparquet')
  return withFile(path, file => parquetMetadataAsync(file, { parsers: OF_STATISTICS, geoparquet: false }))
}

/** Opens a file for as long as it is read. */
export async function withFile<T>(path: string, use: (file: AsyncBuffer) => Promise<T>): Promise<T> {
  const handle = await openRegular(path)
  try {
    const { size } = await handle.stat()
    return await use({
      byteLength: size,
      async slice(start, end = size) {
        const from = start < 0 ? Math.max(0, size + start) : start
        const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - from))
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, from)
        if (bytesRead !== bytes.length) throw new Error('the file has become shorter')
        return bytes.buffer
      },
    })
  } finally {
    await handle.close()
  }
}
