/** Helpers of all specs. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import type { ExecutionContext } from 'ava'
import { AutoModel, type Device, LoRAConfig, type Model, Tensor } from '../index.js'

export const root = resolve(__dirname, '../..')
export const fixtures = join(root, '__test__/fixtures')
export const demo = join(root, 'examples/demo')

export const temp = () => mkdtempSync(join(tmpdir(), 'swift-tuners-test-'))
export const readJson = (file: string) => JSON.parse(readFileSync(file, 'utf8'))
let device: Device = 'cpu'
/** Puts the models of later calls on another device. */
export const onDevice = (d: Device) => { device = d }
/** The folder of a model of the fixtures. */
export const modelFolder = (name: string) => join(fixtures, 'models', name)
export const base = (name = 'llama') => AutoModel.fromPretrained(join(fixtures, 'models', name), { dtype: 'f32', device })
export const numbers = (t: Tensor) => Array.from(t.dataSync() as Float32Array, Number)
export const lora = (fields: Record<string, unknown> = {}) =>
  new LoRAConfig({ r: 4, targetModules: ['q_proj', 'v_proj'], initLoraWeights: false, ...fields })

export const IDS = [[5, 9, 2, 77, 31, 4], [8, 1, 150, 3, 3, 60]]

/** The logits of a fixed batch. */
export async function logits(model: Model, extra: object = {}): Promise<number[]> {
  const out = await model.forward({ inputIds: IDS, ...extra })
  return numbers((out.logits ?? out.lastHiddenState)!)
}

/** The largest difference. */
export function gap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity
  let worst = 0
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i])
    worst = Number.isNaN(d) ? Infinity : Math.max(worst, d)
  }
  return worst
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function rng(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let x = Math.imul(a ^ (a >>> 15), 1 | a)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Uniform in ±scale. */
export const randomTensor = (shape: number[], next: () => number, scale = 1) =>
  Tensor.from(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => (2 * next() - 1) * scale), shape)

/** Every file below a folder with its bytes. */
export function snapshot(dir: string): Record<string, string> {
  const out: Record<string, string> = {}
  const walk = (at: string) => {
    for (const name of readdirSync(at).sort()) {
      const path = join(at, name)
      if (statSync(path).isDirectory()) walk(path)
      else out[relative(dir, path)] = readFileSync(path).toString('base64')
    }
  }
  walk(dir)
  return out
}

/** A writable copy of a fixture folder. */
export function copyOf(dir: string): string {
  const out = join(temp(), 'copy')
  cpSync(dir, out, { recursive: true })
  return out
}

/** Asserts that a call fails with a code, and returns the error. */
export async function failsWith(t: ExecutionContext, code: string, call: () => unknown): Promise<Error & { code: string }> {
  try {
    await call()
  } catch (error) {
    const e = error as Error & { code: string }
    t.is(e.code, code, e.message)
    return e
  }
  t.fail(`no error; expected ${code}`)
  throw new Error('unreachable')
}
