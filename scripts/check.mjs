/** `npm run check`: formatting, lints and strict types of both languages. */
import { spawnSync } from 'node:child_process'
import { cargo } from './cargo.mjs'
import { root, run } from './setup.mjs'

run('cargo', ['fmt', '--all', '--check'])
run('cargo', cargo('clippy', '--workspace', '--all-targets', '--quiet', '--', '-D', 'warnings'))
run('node', ['node_modules/oxlint/bin/oxlint', '--deny-warnings', 'index.ts', 'src', 'examples', 'bench', '__test__', 'scripts'])
run('node', ['node_modules/typescript/bin/tsc', '--noEmit'])
run('node', ['scripts/docs.mjs'])
run('node', ['scripts/licences.mjs'])
run('node', ['scripts/command.mjs', '--check'])
// The build before this has written it anew. Outside of a checkout there is nothing to compare with.
const api = spawnSync('git', ['diff', '--exit-code', '--', 'src/native/binding.d.ts'], { cwd: root, stdio: ['ignore', 'inherit', 'ignore'] })
if (api.status === 1) {
  console.error('src/native/binding.d.ts has changed: add it to the commit that changes the binding')
  process.exit(1)
}
console.log('checks passed')
