/** `npm run configs`: writes src/tuners.ts from the declarations of the tuners' configurations. */
import { run } from './setup.mjs'

const test = 'typescript::tests::the_classes_of_the_typescript_surface_are_those_that_are_declared'
run('cargo', ['test', '--release', '--locked', '--package', 'swift-tuners-tuners', '--lib', '--', '--exact', test], { env: { ...process.env, UPDATE: '1' } })
