/**
 * `npm run test:ecosystem [-- NAME …]`: the packed tarballs in what people put around Node, each as its section of the README says: Bun, Deno, Vite's
 * build for servers, Next.js. They are downloaded for it (`scripts/ecosystem`), some 400 MB.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ran, writeProgram } from './pack/bundlers.mjs'
import { makeTarballs, sh } from './pack/tarballs.mjs'
import { root } from './setup.mjs'

const work = mkdtempSync(join(tmpdir(), 'swift-tuners-ecosystem-'))
const app = join(work, 'app')
mkdirSync(app)
copyFileSync(join(root, 'scripts/ecosystem/package.json'), join(app, 'package.json'))
const tarballs = makeTarballs(work)
// Without a lock: one of bun's optional dependencies cannot be locked. Versions are exact.
sh('npm', ['install', '--silent', '--no-audit', '--no-fund', '--no-package-lock', tarballs.addonTarball, tarballs.mainTarball], app)
writeProgram(app)
const bin = name => join(app, 'node_modules/.bin', name)

/** An executable that may still lie in a platform's own package: install scripts, which move it to its place, do not run everywhere. */
function executable(name, scope) {
  const modules = join(app, 'node_modules')
  const packages = readdirSync(join(modules, scope)).map(pkg => join(modules, scope, pkg))
  const places = [join(modules, name, 'bin', `${name}.exe`), ...packages.flatMap(pkg => [join(pkg, name), join(pkg, 'bin', name)])]
  const found = places.find(file => existsSync(file) && statSync(file).size > 1 << 20)
  if (!found) throw new Error(`${name}: no executable among ${places.join(', ')}`)
  chmodSync(found, 0o755)
  return found
}

/** Vite leaves packages outside of a server's bundle by itself. */
function vite() {
  sh(bin('vite'), ['build', '--ssr', 'program.mjs', '--outDir', 'vite', '--logLevel', 'error'], app)
  ran(sh(process.execPath, [join('vite', 'program.mjs')], app), 'vite')
}

/** A route of Next.js that runs the program when it is asked. */
async function next() {
  const route = join(app, 'app/api/run')
  mkdirSync(route, { recursive: true })
  writeFileSync(join(app, 'next.config.mjs'), "export default { serverExternalPackages: ['swift-tuners'] }\n")
  writeFileSync(join(app, 'app/layout.js'), 'export default ({ children }) => <html><body>{children}</body></html>\n')
  writeFileSync(join(app, 'app/page.js'), 'export default () => <p>page</p>\n')
  writeFileSync(join(route, 'route.js'), "import { Tensor } from 'swift-tuners'\nexport const dynamic = 'force-static'\nexport const GET = () => new Response(Tensor.from([20, 22]).sum().item() === 42 ? 'swift-tuners ran' : 'wrong')\n")
  sh(bin('next'), ['build'], app, { NEXT_TELEMETRY_DISABLED: '1' })
  ran(sh('cat', [join('.next/server/app/api/run.body')], app), 'next')
}

const runs = {
  bun: () => ran(sh(executable('bun', '@oven'), ['program.mjs'], app), 'bun'),
  deno: () => ran(sh(executable('deno', '@deno'), ['run', '--allow-all', '--node-modules-dir=manual', 'program.mjs'], app), 'deno'),
  vite,
  next,
}
const asked = process.argv.slice(2)
for (const name of asked) if (!Object.hasOwn(runs, name)) throw new Error(`${name}: there are ${Object.keys(runs).join(', ')}`)
let failed = 0
for (const [name, run] of Object.entries(runs)) {
  if (asked.length && !asked.includes(name)) continue
  try {
    await run()
    console.log(`${name}: runs`)
  } catch (error) {
    failed += 1
    console.error(`${name}: ${error.message}`)
  }
}
rmSync(work, { recursive: true, force: true })
process.exit(failed ? 1 : 0)
