import test from 'ava'
import { AdamW, getNumThreads, LoRAConfig, setNumThreads, Swift, Trainer } from '../index.js'
import { base as load, numbers } from './support.js'

async function trained(threads: number): Promise<number[]> {
  setNumThreads(threads)
  const model = await Swift.prepareModel(await load(), { a: new LoRAConfig({ r: 4, targetModules: 'all-linear' }) }, { seed: 3 })
  const row = Array.from({ length: 60 }, (_, i) => (i * 7) % 90)
  const batch = { inputIds: [row, row.toReversed()], labels: [row, row.toReversed()] }
  const { steps } = await new Trainer({ model, train: [batch, batch, batch], optimizer: new AdamW(model.parameters(), { lr: 1e-2 }) }).run()
  const { logits } = await model.forward(batch)
  return [steps, ...numbers(logits!)]
}

test.serial('the number of threads is chosen at any time, and changes no bit', async t => {
  t.true(getNumThreads() >= 1)
  const one = await trained(1)
  t.is(getNumThreads(), 1)
  t.deepEqual(await trained(3), one)
  t.is(getNumThreads(), 3)
  t.deepEqual(await trained(2), one)
  // Work that is under way goes on with what it has.
  const both = await Promise.all([trained(4), trained(1)])
  t.deepEqual(both, [one, one])
})

test.serial('a number that is none is refused', t => {
  for (const odd of [0, -1, 1.5, Number.NaN, 5000, '2', undefined]) t.throws(() => setNumThreads(odd as number), { code: 'ERR_INVALID_ARGUMENT' })
})
