/** What a case puts into its folder: bytes, and what is no plain file. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export type Content = Buffer | { link: string } | { folder: true; mode?: number } | { pipe: true } | { bytes: Buffer; mode: number }
/** By path, relative to the case's folder. */
export type Files = Record<string, Content>

export const folder = { folder: true } as const
export const pipe = { pipe: true } as const
export const link = (target: string) => ({ link: target })
export const text = (value: string) => Buffer.from(value)

/** Bytes of a JSON text. A bigint becomes a number that no double holds. */
export function json(value: unknown): Buffer {
  return Buffer.from(jsonText(value))
}

export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `@int${v}` : v)).replace(/"@int(-?\d+)"/g, '$1')
}

export function put(root: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name)
    mkdirSync(dirname(path), { recursive: true })
    if (Buffer.isBuffer(content)) writeFileSync(path, content)
    else if ('link' in content) symlinkSync(content.link, path)
    else if ('pipe' in content) spawnSync('mkfifo', [path])
    else if ('folder' in content) mkdirSync(path, { recursive: true })
    else writeFileSync(path, content.bytes)
    if ('mode' in content && content.mode !== undefined) chmodSync(path, content.mode)
  }
}
