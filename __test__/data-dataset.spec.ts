/** What datasets make of each other, and how a Trainer sees them. */
import test from 'ava'
import { concatenate, Dataset, interleave, loadDataset } from '../index.js'
import { failsWith } from './support.js'

interface Numbered { n: number }
const numbers = (length: number, from = 0) => loadDataset<Numbered>(Array.from({ length }, (_, n) => ({ n: n + from })), { format: 'raw' })
const read = async (data: AsyncIterable<Numbered>) => {
  const out: number[] = []
  for await (const { n } of data) out.push(n)
  return out
}
const range = (length: number, from = 0) => Array.from({ length }, (_, n) => n + from)

test('map, filter, take, skip and batch', async t => {
  const data = numbers(10)
  t.deepEqual(await read(data.map(({ n }, index) => ({ n: n * 10 + index }))), range(10).map(n => n * 11))
  t.deepEqual(await read(data.filter(async ({ n }) => n % 3 === 0)), [0, 3, 6, 9])
  t.deepEqual(await read(data.skip(3).take(4)), [3, 4, 5, 6])
  t.deepEqual(await read(data.take(0)), [])
  t.deepEqual((await data.batch(4).toArray()).map(list => list.map(({ n }) => n)), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
  t.deepEqual(await read(data), range(10), 'nothing has changed the first one')
})

test('a shuffle is the same for a seed and an epoch, and different for others', async t => {
  for (const bufferSize of [1, 7, 1000, Infinity]) {
    const data = numbers(50).shuffle({ seed: 4, bufferSize })
    const first = await read(data)
    t.deepEqual(first.toSorted((a, b) => a - b), range(50))
    t.deepEqual(await read(data.forEpoch(0, 99)), first, 'its own seed counts')
    t.deepEqual(await read(numbers(50).shuffle({ seed: 4, bufferSize }).forEpoch(0, 0)), first)
    if (bufferSize === 1) continue
    t.notDeepEqual(await read(data.forEpoch(1, 0)), first)
    t.notDeepEqual(await read(numbers(50).shuffle({ seed: 5, bufferSize })), first)
    // A row cannot come before the buffer has reached it.
    t.true(first.every((n, at) => n < at + bufferSize))
  }
  const data = numbers(50).shuffle()
  t.notDeepEqual(await read(data.forEpoch(0, 1)), await read(data.forEpoch(0, 2)))
  t.deepEqual(await read(data.forEpoch(3, 2)), await read(data.forEpoch(3, 2)))
})

test('a shuffle draws evenly', async t => {
  const places = range(20).map(() => 0)
  for (let epoch = 0; epoch < 400; epoch++) places[(await read(numbers(20).shuffle({ seed: 1 }).forEpoch(epoch, 0))).indexOf(0)]++
  // 20 a place are expected; five standard deviations.
  t.true(places.every(count => count > 0 && Math.abs(count - 20) < 22), places.join())
})

test('a split depends on the rows alone', async t => {
  const [train, rest] = numbers(2000).split(0.8, { seed: 3 })
  const [a, b] = [await read(train), await read(rest)]
  t.deepEqual([...a, ...b].toSorted((x, y) => x - y), range(2000))
  t.true(Math.abs(a.length - 1600) < 90, `${a.length}`)
  t.deepEqual(await read(numbers(1000, 500).split(0.8, { seed: 3 })[0]), a.filter(n => n >= 500 && n < 1500), 'other rows do not move them')
  t.notDeepEqual(await read(numbers(2000).split(0.8, { seed: 4 })[0]), a)
  t.deepEqual(await read(numbers(5).split(1)[1]), [])
})

test('several datasets by turns, by chance, and one after the other', async t => {
  t.deepEqual(await read(concatenate(numbers(2), numbers(2, 10))), [0, 1, 10, 11])
  t.deepEqual(await read(interleave([numbers(2), numbers(5, 10)])), [0, 10, 1, 11])
  t.deepEqual(await read(interleave([numbers(2), numbers(5, 10)], { stoppingStrategy: 'all-exhausted' })), [0, 10, 1, 11, 0, 12, 1, 13, 0, 14])
  const drawn = interleave([numbers(10_000), numbers(10_000, 10_000)], { probabilities: [3, 1], seed: 2 })
  const first = await read(drawn.take(4000))
  const share = first.filter(n => n < 10_000).length / 4000
  t.true(Math.abs(share - 0.75) < 0.035, `${share}`)
  t.deepEqual(await read(drawn.take(4000)), first)
  t.notDeepEqual((await read(drawn.forEpoch(1, 0))).slice(0, 4000), first)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => interleave([numbers(1)], { probabilities: [1, 2] }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => concatenate(numbers(1), [] as unknown as Dataset<Numbered>))
})

test('a source is closed when nobody asks any more', async t => {
  let open = 0
  async function *rows() {
    open++
    try {
      for (let n = 0; ; n++) yield { n }
    } finally {
      open--
    }
  }
  const data = loadDataset<Numbered>(rows, { format: 'raw' })
  t.deepEqual(await read(data.map(row => row).shuffle({ seed: 1, bufferSize: 1 }).take(3)), [0, 1, 2])
  t.is(open, 0)
  await read(interleave([data, data]).take(3))
  t.is(open, 0)
})

test('dropped rows are counted through all that is made of a dataset', async t => {
  const data = loadDataset([{ text: 'a' }, { text: null }, { text: 'b' }], { format: 'text' })
  const made = concatenate(data.map(row => row).take(5), data)
  t.is(made.skipped, 0)
  t.is((await made.toArray()).length, 4)
  t.is(data.skipped, 1)
  t.is(made.skipped, 2)
})

test('a dataset shows what it is made of', t => {
  t.is(String(loadDataset('rows.jsonl').shuffle({ seed: 1 }).take(5)), 'Dataset(loadDataset("rows.jsonl").shuffle.take)')
})
