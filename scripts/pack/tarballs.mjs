/** The tarballs as they are published: the main package, and this platform's with the addon. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../setup.mjs'

/** Runs a command and gives what it prints; throws with all of it when the command fails. */
export function sh(command, args, cwd, env = {}) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', shell: process.platform === 'win32', env: { ...process.env, ...env } })
  if (result.status !== 0) {
    throw new Error(`${command} ${args.join(' ')} ended with status ${result.status}\n${result.stdout ?? ''}\n${result.stderr ?? ''}${result.error ?? ''}`)
  }
  return result.stdout.trim()
}

/**
 * Every platform as an optional dependency of the main package. The repository's own package.json has none: a lock file cannot name
 * packages of a version that is still to be published.
 */
function platforms(main) {
  const found = {}
  for (const name of readdirSync(join(root, 'npm'))) {
    const pkg = JSON.parse(readFileSync(join(root, 'npm', name, 'package.json'), 'utf8'))
    if (pkg.version !== main.version) throw new Error(`npm/${name}: version ${pkg.version}, not ${main.version}`)
    if (pkg.name !== `swift-tuners-${name}`) throw new Error(`npm/${name}: called ${pkg.name}`)
    // The CUDA addon needs NVIDIA's libraries; whoever wants it installs its package by name.
    if (!name.endsWith('-cuda')) found[pkg.name] = main.version
  }
  if (Object.keys(found).length !== main.napi.targets.length) throw new Error('npm/ and napi.targets differ')
  return found
}

/** Packs both packages into a folder, and gives their tarballs and the platform's name. */
export function makeTarballs(work) {
  const main = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const optionalDependencies = platforms(main)
  for (const script of ['preinstall', 'install', 'postinstall']) {
    if (main.scripts[script]) throw new Error(`package.json has an ${script} script`)
  }
  const [addon] = readdirSync(join(root, 'src/native')).filter(f => f.endsWith('.node') && !f.includes('cuda'))
  const platform = addon.replace(/^swift-tuners\.|\.node$/g, '')

  const staged = join(work, 'platform')
  cpSync(join(root, 'npm', platform), staged, { recursive: true })
  copyFileSync(join(root, 'src/native', addon), join(staged, addon))
  const stagedMain = join(work, 'main')
  mkdirSync(stagedMain)
  cpSync(join(root, 'dist'), join(stagedMain, 'dist'), { recursive: true })
  for (const file of readdirSync(root).filter(f => f.endsWith('.md') || f === 'LICENSE')) cpSync(join(root, file), join(stagedMain, file))
  const { scripts: _scripts, devDependencies: _dev, overrides: _overrides, ava: _ava, ...published } = main
  writeFileSync(join(stagedMain, 'package.json'), JSON.stringify({ ...published, optionalDependencies }, null, 2))

  const [addonTarball, mainTarball] = [staged, stagedMain].map(dir => join(work, sh('npm', ['pack', '--silent', '--pack-destination', work], dir).split('\n').at(-1)))
  const stray = sh('tar', ['-tzf', mainTarball], work).split('\n').filter(f => /\.node$|__test__|bench\/|examples|fixtures|crates/.test(f))
  if (stray.length) throw new Error(`the main package carries ${stray.join(', ')}`)
  return { platform, mainTarball, addonTarball }
}

/** A package of its own with both tarballs installed. */
export function install(folder, { mainTarball, addonTarball }, more = []) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true }))
  sh('npm', ['install', '--silent', '--no-audit', '--no-fund', '--omit=optional', addonTarball, mainTarball, ...more], folder)
}
