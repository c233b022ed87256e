/** Splits of datasets by the names of their files, as Hugging Face's `datasets` finds them. */
import { posix } from 'node:path'

const WORDS: [string, string[]][] = [
  ['validation', ['validation', 'valid', 'dev', 'val']],
  ['test', ['test', 'testing', 'eval', 'evaluation']],
  ['train', ['train', 'training']],
]

/** The split that a path names: `data/train_sft-00000-of-00002.parquet`, `dev.jsonl`, `test/rows.csv`. */
export function splitOf(path: string): string | undefined {
  const shard = /^(.+)-\d{5}-of-\d{5}/.exec(posix.basename(path))
  if (shard) return shard[1]
  // The nearest name counts.
  for (const part of path.split('/').toReversed()) {
    const words = part.toLowerCase().split(/[._\-\s\d]+/)
    for (const [split, names] of WORDS) if (names.some(name => words.includes(name))) return split
  }
  return undefined
}

/** The files of a split: by what they name, by their own name, or by a folder's. */
export const ofSplit = (paths: string[], split: string): string[] =>
  paths.filter(path => splitOf(path) === split || path.split('/').some(part => part === split || part.split('.')[0] === split))
