/** The reference cases on a GPU; started by `npm run test:cuda`, not by `npm test`. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Tensor } from '../index.js'
import { replayTuner } from './replay.js'
import { fixtures, onDevice } from './support.js'

async function main(): Promise<void> {
  try {
    Tensor.zeros([1], { device: 'cuda' })
  } catch (error) {
    console.log(`skipped: ${(error as Error).message}`)
    return
  }
  onDevice('cuda')
  let [passed, failed] = [0, 0]
  for (const suite of ['swift', 'peft']) {
    for (const name of readdirSync(join(fixtures, suite)).sort()) {
      const problems = await replayTuner(join(fixtures, suite, name)).then(r => r.problems, (e: Error) => [`threw: ${e.message}`])
      if (problems.length) console.log(`${suite}/${name}: ${problems.slice(0, 3).join('; ')}`)
      if (problems.length) failed += 1
      else passed += 1
    }
  }
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed ? 1 : 0
}

void main()
