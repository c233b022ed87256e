/** Resident memory, in processes of their own. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'

function measured<T>(what: string): T {
  const run = spawnSync(process.execPath, [join(__dirname, 'memory.js'), what], { encoding: 'utf8', timeout: 120_000 })
  if (run.status !== 0) throw new Error(run.stderr)
  return JSON.parse(run.stdout)
}

test('an adapter that is offloaded to meta takes no memory, however often', t => {
  const { sizes } = measured<{ sizes: number[] }>('offload')
  const [both, away, back, again] = sizes
  t.true(both - away > 100, `of 128 MiB: ${sizes}`)
  t.true(back - away > 100, String(sizes))
  t.true(back - again > 100, String(sizes))
})

test('eight threads use one copy of the weights, and switching leaks nothing', t => {
  const sizes = measured<{ start: number; first: number; last: number }>('threads')
  // A thread's own heap takes some 20 MiB.
  t.true(sizes.first - sizes.start < 256, JSON.stringify(sizes))
  t.true(sizes.last - sizes.first < 64, JSON.stringify(sizes))
})

test('models that nobody has any more are collected before there are many', t => {
  const { size, most } = measured<{ size: number; most: number }>('dropped')
  t.true(most < 6 * size, `${most} MiB for one model of ${size} at a time`)
})
