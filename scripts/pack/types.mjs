/** The published types by themselves: every export, in every kind of module, without `skipLibCheck`. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from '../setup.mjs'
import { sh } from './tarballs.mjs'

/** How programs resolve packages: Node's own two ways, a bundler's, and the one before `exports`. */
const RESOLUTIONS = {
  nodenext: { files: ['all.mts', 'all.cts'], module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { files: ['all.ts'], module: 'esnext', moduleResolution: 'bundler' },
  commonjs: { files: ['all.ts'], module: 'commonjs', moduleResolution: 'node10' },
}

/** A program that names every export: values as values, and what is only a type as a type. */
function program(folder) {
  const values = Object.keys(createRequire(join(folder, 'x.js'))('swift-tuners')).sort()
  const index = readFileSync(join(root, 'index.ts'), 'utf8')
  const types = [...index.matchAll(/\btype (\w+)/g), ...index.matchAll(/export type \{([^}]*)\}/g)].flatMap(([, names]) => names.split(',').map(n => n.trim())).filter(Boolean)
  const only = [...new Set(types)].filter(n => !values.includes(n)).sort()
  return `import {\n${values.map(n => `  ${n},\n`).join('')}} from 'swift-tuners'
export type {\n${only.map(n => `  ${n},\n`).join('')}} from 'swift-tuners'
export const all: unknown[] = [${values.join(', ')}]\n`
}

const USE = `import { AutoModel, type Encoded, encodeDataset, LoRAConfig, LoraConfig, loadDataset, type Model, PeftModel, type PairRow, Swift, SwiftModel, SwiftTunersError, Tensor, type TextRow } from 'swift-tuners'
import { expectTypeOf } from 'expect-type'
expectTypeOf(Tensor.from([1, 2]).shape).toEqualTypeOf<number[]>()
expectTypeOf<SwiftTunersError['details']>().extract<object>().toHaveProperty('nearest')
export const tuned = async () => {
  const base = await AutoModel.fromPretrained('x')
  expectTypeOf(base).toEqualTypeOf<Model>()
  expectTypeOf(await Swift.prepareModel(base, { a: new LoRAConfig({ r: 4 }) })).toEqualTypeOf<SwiftModel>()
  expectTypeOf(await Swift.prepareModel(base, new LoraConfig({ r: 4 }))).toEqualTypeOf<PeftModel>()
  const tokenizer = { encode: () => [1], decode: () => '' }
  expectTypeOf(await encodeDataset(tokenizer, loadDataset<TextRow>('x')).toArray()).toEqualTypeOf<Encoded[]>()
  expectTypeOf((await encodeDataset(tokenizer, loadDataset<PairRow>('x')).toArray())[0].chosenIds).toEqualTypeOf<number[]>()
}
// @ts-expect-error internal
export const hidden = Tensor.from([1]).native\n`

/** Compiles the programs in a folder that has the packages installed. */
export function checkTypes(folder) {
  const text = program(folder)
  cpSync(join(root, 'node_modules/expect-type'), join(folder, 'node_modules/expect-type'), { recursive: true })
  for (const [name, { files, module, moduleResolution }] of Object.entries(RESOLUTIONS)) {
    const at = join(folder, `types-${name}`)
    mkdirSync(at)
    for (const file of files) {
      writeFileSync(join(at, file), text)
      writeFileSync(join(at, file.replace('all', 'use')), USE)
    }
    const compilerOptions = {
      module, moduleResolution, strict: true, skipLibCheck: false, noEmit: true, target: 'ES2023', lib: ['ES2023', 'ESNext.Disposable'],
      types: ['node'], typeRoots: [join(root, 'node_modules/@types')],
    }
    writeFileSync(join(at, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*'] }))
    sh(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', at], at)
  }
  return Object.keys(RESOLUTIONS)
}
