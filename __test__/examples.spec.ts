/** Every example of a tuner family runs, and learns. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { Learned } from '../examples/support/fit.js'
import { root } from './support.js'

const names = ['tuners', 'peft'].flatMap(folder =>
  readdirSync(join(root, 'examples', folder)).map(f => `${folder}/${f.replace('.ts', '')}`))
for (const name of names) {
  test.serial(name, async t => {
    const { main } = (await import(join(root, `dist/examples/${name}.js`))) as { main(steps?: number): Promise<Learned> }
    const { before, after } = await main(40)
    t.true(after < 0.97 * before, `${before} → ${after}`)
  })
}
