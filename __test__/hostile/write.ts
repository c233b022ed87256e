/**
 * Writes the corpus to a folder, one folder per case, for other programs and for looking at it:
 *
 *   node dist/__test__/hostile/write.js OUT [MODEL]
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fixtures } from '../support.js'
import { Base } from './base.js'
import type { Case } from './case.js'
import { put } from './contents.js'
import { corpus } from './corpus.js'

/** What has to come of it, in words that other programs read. */
function expectation({ kind, ...rest }: Omit<Case, 'name' | 'files'>): Record<string, unknown> {
  const snake = (key: string) => key.replace(/[A-Z]/g, c => `_${c.toLowerCase()}`).replace(/^mention$/, 'must_mention')
  return { error_kind: kind, ...Object.fromEntries(Object.entries(rest).map(([key, value]) => [snake(key), value])) }
}

export function write(out: string, directory: string): number {
  mkdirSync(out)
  cpSync(directory, join(out, '_base'), { recursive: true })
  let count = 0
  for (const { name, files, ...rest } of corpus(new Base(directory))) {
    mkdirSync(join(out, name))
    put(join(out, name), files)
    writeFileSync(join(out, name, 'expect.json'), `${JSON.stringify(expectation(rest), null, 1)}\n`)
    count += 1
  }
  return count
}

if (require.main === module) console.log(`${write(process.argv[2], process.argv[3] ?? join(fixtures, 'models/llama'))} cases`)
