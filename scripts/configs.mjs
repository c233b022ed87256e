/** `npm run configs`: writes src/tuners.ts from the declarations of the tuners' configurations. */
import { cargo } from './cargo.mjs'
import { run } from './setup.mjs'

const test = 'typescript::tests::the_classes_of_the_typescript_surface_are_those_that_are_declared'
run('cargo', cargo('test', '--workspace', '--lib', '--', '--exact', test), { env: { ...process.env, UPDATE: '1' } })
