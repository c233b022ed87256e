/** `npm run test:cuda`: the reference cases on a GPU, or a line that says why they were skipped. */
import { run, setup } from './setup.mjs'

setup()
run('node', ['dist/__test__/cuda.js'])
