/**
 * `npm run test:soak -- [NAME …] [--short]`: what takes minutes: kills, failing system calls, full disks, thousands of rounds. Without names all of
 * them, one after another; `--short` is what runs on every change.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root, setup } from './setup.mjs'

const ALL = ['kills', 'faults', 'writers', 'full-disk', 'switches', 'loads', 'merges', 'generations', 'training', 'workers', 'exits']

const options = process.argv.slice(2).filter(word => word.startsWith('--'))
const names = process.argv.slice(2).filter(word => !word.startsWith('--'))
const unknown = names.find(name => !ALL.includes(name)) ?? options.find(option => option !== '--short')
if (unknown) {
  console.error(`${unknown}: there are ${ALL.join(', ')} and --short`)
  process.exit(1)
}
setup()
const failed = []
for (const name of names.length ? names : ALL) {
  console.log(`\n# ${name}`)
  const { status } = spawnSync(process.execPath, ['--expose-gc', join(root, `dist/__test__/soak/${name}.js`), ...options], { stdio: 'inherit' })
  if (status !== 0) failed.push(name)
}
console.log(failed.length ? `\nfailed: ${failed.join(', ')}` : '\nall promises held')
process.exit(failed.length ? 1 : 0)
