/**
 * `npm run test:pack`: packs the main package and the one for this platform, installs both tarballs in an empty folder, and
 * imports and requires them there, also as TypeScript.
 *
 * The packed main package takes every platform of `npm/` as an optional dependency. The repository's own package.json does
 * not: a lock file cannot name packages of a version that is still to be published.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './setup.mjs'

const main = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const [addon] = readdirSync(join(root, 'src/native')).filter(f => f.endsWith('.node') && !f.includes('cuda'))
const platform = addon.replace(/^swift-tuners\.|\.node$/g, '')
const work = mkdtempSync(join(tmpdir(), 'swift-tuners-pack-'))

function sh(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' })
  if (result.status !== 0) {
    console.error(result.stdout, result.stderr)
    throw new Error(`${command} ${args.join(' ')} ended with status ${result.status}`)
  }
  return result.stdout.trim()
}

// Every platform of napi.targets has a package, at the main one's version, and no package has an install script.
const optionalDependencies = {}
for (const name of readdirSync(join(root, 'npm'))) {
  const pkg = JSON.parse(readFileSync(join(root, 'npm', name, 'package.json'), 'utf8'))
  if (pkg.version !== main.version) throw new Error(`npm/${name}: version ${pkg.version}, not ${main.version}`)
  if (pkg.name !== `swift-tuners-${name}`) throw new Error(`npm/${name}: called ${pkg.name}`)
  // The CUDA addon needs NVIDIA's libraries; whoever wants it installs its package by name.
  if (!name.endsWith('-cuda')) optionalDependencies[pkg.name] = main.version
}
if (Object.keys(optionalDependencies).length !== main.napi.targets.length) throw new Error('npm/ and napi.targets differ')
for (const script of ['preinstall', 'install', 'postinstall']) {
  if (main.scripts[script]) throw new Error(`package.json has an ${script} script`)
}

const staged = join(work, 'platform')
cpSync(join(root, 'npm', platform), staged, { recursive: true })
copyFileSync(join(root, 'src/native', addon), join(staged, addon))
const stagedMain = join(work, 'main')
mkdirSync(stagedMain)
for (const file of ['dist', 'README.md', 'LICENSE', 'CHANGELOG.md']) cpSync(join(root, file), join(stagedMain, file), { recursive: true })
const { scripts: _scripts, devDependencies: _dev, overrides: _overrides, ava: _ava, ...published } = main
writeFileSync(join(stagedMain, 'package.json'), JSON.stringify({ ...published, optionalDependencies }, null, 2))
const tarballs = [staged, stagedMain].map(dir => join(work, sh('npm', ['pack', '--silent', '--pack-destination', work], dir).split('\n').at(-1)))
const listed = sh('tar', ['-tzf', tarballs[1]], work).split('\n')
const stray = listed.filter(f => /\.node$|__test__|bench|examples|fixtures|crates/.test(f))
if (stray.length) throw new Error(`the main package carries ${stray.join(', ')}`)

const empty = join(work, 'empty')
mkdirSync(empty)
writeFileSync(join(empty, 'package.json'), JSON.stringify({ name: 'consumer', private: true }))
sh('npm', ['install', '--silent', '--no-audit', '--no-fund', '--omit=optional', ...tarballs], empty)
if (!existsSync(join(empty, 'node_modules/swift-tuners/dist/index.mjs'))) throw new Error('the main package has no ESM entry')
const probe = 'if (Tensor.from([1, 2]).mul(2).sum().item() !== 6) throw new Error("wrong sum"); new LoRAConfig({ r: 4 });'
writeFileSync(join(empty, 'a.mjs'), `import { LoRAConfig, Tensor } from 'swift-tuners'\nimport { createRequire } from 'node:module'\n${probe}
if (createRequire(import.meta.url)('swift-tuners').Tensor !== Tensor) throw new Error('import and require give two copies')\n`)
writeFileSync(join(empty, 'b.cjs'), `const { LoRAConfig, Tensor } = require('swift-tuners')\n${probe}\n`)
sh(process.execPath, ['a.mjs'], empty)
sh(process.execPath, ['b.cjs'], empty)
// The published types stand by themselves, for both kinds of modules, and show nothing of the native side.
const typed = `import { AutoModel, LoRAConfig, Swift, SwiftTunersError, Tensor } from 'swift-tuners'
export const shape: number[] = Tensor.from([1, 2]).shape
export const tuned = async () => (await Swift.prepareModel(await AutoModel.fromPretrained('x'), { a: new LoRAConfig({ r: 4 }) })).activeAdapters
export const nearest = (e: SwiftTunersError): string[] | undefined => e.details?.nearest
// @ts-expect-error internal
export const hidden = Tensor.from([1]).native\n`
for (const file of ['c.mts', 'd.cts']) writeFileSync(join(empty, file), typed)
const types = ['--typeRoots', join(root, 'node_modules/@types'), '--types', 'node', '--lib', 'ES2023,ESNext.Disposable']
const tsc = join(root, 'node_modules/typescript/bin/tsc')
sh(process.execPath, [tsc, '--noEmit', '--strict', '--target', 'ES2023', '--module', 'Node16', ...types, 'c.mts', 'd.cts'], empty)
rmSync(work, { recursive: true, force: true })
console.log(`packed swift-tuners and swift-tuners-${platform}: both tarballs install, import, require and type-check in an empty folder`)
