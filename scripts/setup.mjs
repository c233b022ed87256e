/**
 * Makes a checkout ready to run: dependencies, the native addon, the compiled TypeScript. Each step runs only when what it
 * is made from has changed.
 *
 *   node scripts/setup.mjs [--debug]
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(fileURLToPath(import.meta.url), '../..')
const stamps = join(root, '.build')

/** Runs a command in the repository; ends this process when it fails. */
export function run(command, args, options = {}) {
  const windows = process.platform === 'win32'
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell: windows, ...options })
  if (result.error?.code === 'ENOENT') {
    console.error(`${command} was not found. swift-tuners needs Node ${process.version} or another supported one, and Rust (https://rustup.rs).`)
    process.exit(1)
  }
  if (result.status !== 0) process.exit(result.status ?? 1)
}

function* files(path) {
  if (!existsSync(path)) return
  if (!statSync(path).isDirectory()) return yield path
  for (const name of readdirSync(path).sort()) {
    if (name !== 'target' && name !== 'node_modules') yield* files(join(path, name))
  }
}

function digest(paths, extra) {
  const hash = createHash('sha256').update(extra)
  for (const path of paths) {
    for (const file of files(join(root, path))) hash.update(file.slice(root.length)).update('\0').update(readFileSync(file)).update('\0')
  }
  return hash.digest('hex')
}

/** Runs `make` unless the inputs are as they were and the outputs exist. */
function step(name, inputs, outputs, make, extra = '') {
  const now = digest(inputs, `${process.version} ${process.platform} ${process.arch} ${extra}`)
  const stamp = join(stamps, name)
  const done = outputs.every(o => existsSync(join(root, o))) && existsSync(stamp) && readFileSync(stamp, 'utf8') === now
  if (done) return false
  make()
  mkdirSync(stamps, { recursive: true })
  writeFileSync(stamp, now)
  return true
}

const sources = ['Cargo.toml', 'Cargo.lock', 'crates']
const addon = 'src/native/binding.js'

export function setup({ debug = false } = {}) {
  step('packages', ['package.json', 'package-lock.json'], ['node_modules'], () => {
    console.log('installing packages')
    run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
  })
  step('addon', sources, [addon], () => {
    console.log(`building the native addon${debug ? ' (debug)' : ', which takes some minutes the first time'}`)
    buildAddon(debug)
  }, String(debug))
  step('typescript', ['index.ts', 'src', '__test__', 'examples', 'bench', 'tsconfig.json', 'scripts/entry.mjs', 'package-lock.json'], ['dist/index.mjs'], () => {
    run('node', ['node_modules/typescript/bin/tsc'])
    run('node', ['scripts/entry.mjs'])
  })
}

/** Builds the whole workspace, so that the Rust tests find every dependency built with the same features. */
function buildAddon(debug) {
  run('node', [
    'node_modules/@napi-rs/cli/dist/cli.js', 'build', '--platform', '--manifest-path', 'crates/node/Cargo.toml', '--output-dir', 'src/native',
    '--js', 'binding.js', '--dts', 'binding.d.ts', ...(debug ? [] : ['--release']), '--', '--locked', '--workspace',
  ])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  setup({ debug: process.argv.includes('--debug') })
}
