/** A program that uses this package, and what bundles it as the README says to. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sh } from './tarballs.mjs'

const RAN = 'swift-tuners ran'

const PROGRAM = `import { AdamW, AutoModel, LoRAConfig, nn, Swift, Tensor, Trainer } from 'swift-tuners'
const main = async () => {
  const base = await AutoModel.fromModules(nn.sequential({ fc: nn.linear(4, 3) }))
  const model = await Swift.prepareModel(base, { a: new LoRAConfig({ r: 2, targetModules: ['fc'] }) })
  const { logits } = await model.forward({ input: Tensor.from([[1, 2, 3, 4]]) })
  if (logits.shape.join() !== '1,3' || typeof AdamW !== 'function' || typeof Trainer !== 'function') throw new Error('wrong shape')
  console.log('${RAN}')
}
main()\n`

/** esbuild, to both kinds of modules, with the package left outside; and to CommonJS with the addon copied beside. */
export async function checkEsbuild(folder) {
  writeProgram(folder)
  const { build } = await import('esbuild')
  const common = { entryPoints: [join(folder, 'program.mjs')], bundle: true, platform: 'node', logLevel: 'silent' }
  for (const [format, name] of [['esm', 'out.mjs'], ['cjs', 'out.cjs']]) {
    await build({ ...common, format, outfile: join(folder, 'esbuild', name), external: ['swift-tuners'] })
    ran(sh(process.execPath, [join('esbuild', name)], folder), `esbuild to ${format}`)
  }
}

/** A bundle must have run the program to its end. */
export function ran(text, name) {
  if (!text.includes(RAN)) throw new Error(`${name}: the program did not run: ${text}`)
}

/** Writes the program into a folder that has the packages installed. */
export function writeProgram(folder) {
  writeFileSync(join(folder, 'program.mjs'), PROGRAM)
}
