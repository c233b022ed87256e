/** Fails when a package that is built into the addon, or that npm installs with the package, has a licence that is not known to be permissive. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './setup.mjs'

const PERMISSIVE = new Set(['MIT', 'MIT-0', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'Zlib', 'Unlicense', 'Unicode-3.0', '0BSD', 'BSL-1.0', 'CC0-1.0', 'CDLA-Permissive-2.0'])

/** Whether one of the alternatives of an SPDX expression is made of permissive licences alone. */
function permissive(expression) {
  const text = expression.replaceAll('/', ' OR ').replace(/[()]/g, ' ')
  return text.split(/ OR /).some(one => one.split(/ AND /).every(licence => PERMISSIVE.has(licence.trim())))
}

const { stdout, stderr, status } = spawnSync('cargo', ['metadata', '--locked', '--format-version', '1'], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28, shell: process.platform === 'win32' })
if (status !== 0) throw new Error(stderr)
const { packages } = JSON.parse(stdout)
const odd = packages.filter(p => !p.license || !permissive(p.license)).map(p => `${p.name} ${p.version}: ${p.license ?? 'none'}`)

const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
let count = 0
for (const [path, { dev, license }] of Object.entries(lock)) {
  if (!path || dev) continue
  count += 1
  const file = join(root, path, 'package.json')
  const found = license ?? (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).license : undefined)
  if (!found || !permissive(found)) odd.push(`${path}: ${found ?? 'none'}`)
}
for (const one of odd) console.error(`${one}: not known to be permissive (scripts/licences.mjs)`)
console.log(`${packages.length} crates and ${count} npm packages, ${odd.length} with another licence than the permissive ones`)
process.exitCode = odd.length ? 1 : 0
