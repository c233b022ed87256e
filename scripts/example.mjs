/** `npm run example -- NAME [arguments]`: builds what is missing and runs an example; without a name it lists them. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, run, setup } from './setup.mjs'

const [name, ...rest] = process.argv.slice(2)
const files = Object.fromEntries(['examples', 'examples/tuners', 'examples/peft'].flatMap(dir =>
  readdirSync(join(root, dir)).filter(f => f.endsWith('.ts')).map(f => [f.slice(0, -3), `dist/${dir}/${f.slice(0, -3)}.js`])))
if (!Object.hasOwn(files, name ?? '')) {
  console.log(`${name ? `${name}: no such example\n` : ''}examples: ${Object.keys(files).join(', ')}`)
  process.exit(name ? 1 : 0)
}
setup()
run('node', [join(root, files[name]), ...rest], { cwd: process.cwd() })
