/** The hostile corpus: each case in a process of its own, each with the outcome that it must have, in little time and memory. */
import { join } from 'node:path'
import test from 'ava'
import { Base } from './hostile/base.js'
import { corpus } from './hostile/corpus.js'
import { pool } from './hostile/pool.js'
import { fixtures } from './support.js'

/** Of one case: seconds of one core, far above the 2 that RELIABILITY.md tells of, since machines differ, and MiB. */
const [MOST_SECONDS, MOST_MEMORY] = [10, 256]

const model = join(fixtures, 'models/llama')
const posix = process.platform === 'win32' ? test.skip : test

test('the corpus has all of its cases', t => {
  const names: string[] = []
  for (const one of corpus(new Base(model))) names.push(one.name)
  t.is(names.filter(name => !name.startsWith('near-')).length, 463)
  t.is(names.length, 463 + 144)
  t.is(new Set(names).size, names.length)
})

posix('every case ends as it must', async t => {
  t.timeout(600_000)
  const results = await pool(corpus(new Base(model)), model, 2)
  const most = (of: 'seconds' | 'cpu' | 'memory') => results.reduce((a, b) => (a[of] > b[of] ? a : b))
  const [slowest, busiest, largest] = [most('seconds'), most('cpu'), most('memory')]
  t.log(`${results.length} cases; slowest ${slowest.seconds.toFixed(2)} s (${slowest.name}), most work ${busiest.cpu.toFixed(2)} s (${busiest.name}), `
    + `most memory ${Math.round(largest.memory)} MiB (${largest.name})`)
  t.deepEqual(results.filter(r => r.problems.length).map(r => `${r.name}: ${r.problems.join('; ')}`), [])
  t.true(busiest.cpu < MOST_SECONDS, busiest.name)
  t.true(largest.memory < MOST_MEMORY, largest.name)
})
