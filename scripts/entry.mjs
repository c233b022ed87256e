/** Writes the ESM wrapper over the one CommonJS implementation: `import` and `require` share one native module. */
import { createRequire } from 'node:module'
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(fileURLToPath(import.meta.url), '../..')
mkdirSync(join(root, 'dist/src/native'), { recursive: true })
for (const file of readdirSync(join(root, 'src/native'))) {
  if (/^binding\.js$|\.node$/.test(file)) copyFileSync(join(root, 'src/native', file), join(root, 'dist/src/native', file))
}
const require = createRequire(import.meta.url)
if (existsSync(join(root, 'dist/src/native/binding.js'))) {
  const names = Object.keys(require(join(root, 'dist/index.js'))).sort()
  writeFileSync(join(root, 'dist/index.mjs'), `import all from './index.js'\nexport const {\n${names.map(n => `  ${n},\n`).join('')}} = all\n`)
  writeFileSync(join(root, 'dist/index.d.mts'), "export * from './index.js'\n")
}
