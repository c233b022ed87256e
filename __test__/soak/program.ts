/** What the programs of the soak share: their options, their figures, and how they end. */
import { rmSync } from 'node:fs'
import { rng, temp } from '../support.js'

/** `--short`: seconds and not minutes. */
export const short = process.argv.includes('--short')

/** So many in the long form, so many in the short one. */
export const count = (long: number, few: number) => (short ? few : long)

/** Numbers in [0, 1), the same in each run. */
export const random = rng(20_261_128)

const failures: string[] = []

export function figure(name: string, value: string | number): void {
  console.log(`${name}: ${value}`)
}

/** What is promised; a run goes on after a promise that was broken, and ends with status 1. */
export function must(holds: boolean, broken: string): void {
  if (holds || failures.length > 20) return
  failures.push(broken)
  console.log(`BROKEN: ${broken}`)
}

/** Runs `body` with an empty folder, which is removed afterwards. A program that starts itself again does it with `--inside`. */
export function program(body: (folder: string) => Promise<void>): void {
  const folder = temp()
  process.removeAllListeners('warning')
  process.on('warning', () => {})
  const begun = performance.now()
  void (async () => {
    try {
      await body(folder)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    if (!process.argv.includes('--inside')) figure('seconds', ((performance.now() - begun) / 1000).toFixed(0))
    process.exit(failures.length ? 1 : 0)
  })()
}

/** That this cannot run here, and why: no failure, but never in silence. */
export function skip(why: string): never {
  console.log(`SKIPPED: ${why}`)
  process.exit(0)
}

export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
