/** `npm run check`: formatting, lints and strict types of both languages. */
import { run } from './setup.mjs'

run('cargo', ['fmt', '--all', '--check'])
run('cargo', ['clippy', '--release', '--locked', '--workspace', '--all-targets', '--quiet', '--', '-D', 'warnings'])
run('node', ['node_modules/oxlint/bin/oxlint', '--deny-warnings', 'index.ts', 'src', 'examples', 'bench', '__test__', 'scripts'])
run('node', ['node_modules/typescript/bin/tsc', '--noEmit'])
console.log('checks passed')
