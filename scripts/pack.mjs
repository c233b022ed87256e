/**
 * `npm run test:pack`: packs the main package and the one for this platform, installs both tarballs in an empty folder, and
 * imports and requires them there; looks at the types as programs see them, at the package as registries do, and at a bundle.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { checkEsbuild } from './pack/bundlers.mjs'
import { install, makeTarballs, sh } from './pack/tarballs.mjs'
import { checkTypes } from './pack/types.mjs'

const work = mkdtempSync(join(tmpdir(), 'swift-tuners-pack-'))
const tarballs = makeTarballs(work)
const empty = join(work, 'empty')
install(empty, tarballs)
if (!existsSync(join(empty, 'node_modules/swift-tuners/dist/index.mjs'))) throw new Error('the main package has no ESM entry')

const probe = 'if (Tensor.from([1, 2]).mul(2).sum().item() !== 6) throw new Error("wrong sum"); new LoRAConfig({ r: 4 });'
writeFileSync(join(empty, 'a.mjs'), `import { LoRAConfig, Tensor } from 'swift-tuners'\nimport { createRequire } from 'node:module'\n${probe}
if (createRequire(import.meta.url)('swift-tuners').Tensor !== Tensor) throw new Error('import and require give two copies')\n`)
writeFileSync(join(empty, 'b.cjs'), `const { LoRAConfig, Tensor } = require('swift-tuners')\n${probe}\n`)
sh(process.execPath, ['a.mjs'], empty)
sh(process.execPath, ['b.cjs'], empty)
console.log('imported and required from the tarballs')
sh(process.execPath, ['node_modules/swift-tuners/dist/src/command/bin.js', 'inspect', '--help'], empty)
if (!existsSync(join(empty, 'node_modules/.bin/swift-tuners')) && process.platform !== 'win32') throw new Error('the command is not linked')
console.log('the command answers from the tarballs')

console.log(`types hold without skipLibCheck: ${checkTypes(empty).join(', ')}`)

const wrong = await checkPackage(createPackageFromTarballData(new Uint8Array(readFileSync(tarballs.mainTarball))))
if (wrong.problems.length) throw new Error(`attw: ${JSON.stringify(wrong.problems, null, 1)}`)
const { messages } = await publint({ pkgDir: join(empty, 'node_modules/swift-tuners'), pack: false, strict: true })
if (messages.length) throw new Error(`publint: ${JSON.stringify(messages, null, 1)}`)
console.log('attw and publint have nothing to say')

await checkEsbuild(empty)
rmSync(work, { recursive: true, force: true })
console.log(`packed swift-tuners and swift-tuners-${tarballs.platform}: both install, import, require, type-check and bundle in an empty folder`)
