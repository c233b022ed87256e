/** Random numbers and hashes that are the same everywhere for the same seed. */
import { createHash } from 'node:crypto'

/** A number for several: an epoch's seed. */
export function mixed(...numbers: number[]): number {
  return createHash('sha256').update(numbers.join()).digest().readUInt32LE(0)
}

/** Numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  let a = seed | 0
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let x = Math.imul(a ^ (a >>> 15), 1 | a)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Puts a list in random order (Fisher and Yates). */
export function shuffle<T>(list: T[], next: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]]
  }
  return list
}

/** A text as a number in [0, 1). */
export function share(text: string, seed: number): number {
  return createHash('sha256').update(`${seed}\n${text}`).digest().readUIntLE(0, 6) / 2 ** 48
}
