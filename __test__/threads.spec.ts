import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { AutoModel, Swift, type SwiftModel } from '../index.js'
import { failsWith, fixtures, logits, lora, rng } from './support.js'

interface Report {
  start: string[]
  results: [string, number[]][]
}

function inWorker(model: SwiftModel, names: string[]): Promise<Report> {
  return new Promise((done, fail) => {
    const worker = new Worker(join(__dirname, 'worker.js'), { workerData: { handle: model.share(), names } })
    worker.once('message', done)
    worker.once('error', fail)
  })
}

async function prepared(unique: string): Promise<SwiftModel> {
  const before = process.env.USE_UNIQUE_THREAD
  process.env.USE_UNIQUE_THREAD = unique
  try {
    const base = await AutoModel.fromPretrained(join(fixtures, 'models/llama'))
    return await Swift.prepareModel(base, { a: lora(), b: lora({ targetModules: ['o_proj'] }) })
  } finally {
    if (before === undefined) delete process.env.USE_UNIQUE_THREAD
    else process.env.USE_UNIQUE_THREAD = before
  }
}

test.serial('with USE_UNIQUE_THREAD=0 each thread has its own set, and outputs equal those of one thread', async t => {
  const model = await prepared('0')
  const expected: Record<string, number[]> = {}
  for (const name of ['a', 'b']) {
    model.setActiveAdapters(name)
    expected[name] = await logits(model)
  }
  model.setActiveAdapters('a')
  const reports = await Promise.all(Array.from({ length: 8 }, (_, worker) => {
    const next = rng(worker)
    return inWorker(model, Array.from({ length: 200 }, () => (next() < 0.5 ? 'a' : 'b')))
  }))
  for (const { start, results } of reports) {
    t.deepEqual(start, [], 'a new thread starts with nothing active')
    t.is(results.length, 200)
    t.true(results.every(([name, output]) => output.every((v, i) => v === expected[name][i])))
  }
  t.deepEqual(model.activeAdapters, ['a'])
  t.deepEqual(await logits(model), expected.a)
  await failsWith(t, 'ERR_INVALID_STATE', () => Swift.merge(model))
  await failsWith(t, 'ERR_INVALID_STATE', () => model.setActiveAdapters('b', { offload: 'meta' }))
  t.deepEqual(model.activeAdapters, ['a'])
})

test.serial('by default all threads share one set', async t => {
  const model = await prepared('1')
  const { start } = await inWorker(model, ['b'])
  t.deepEqual(start, ['a', 'b'])
  t.deepEqual(model.activeAdapters, ['b'])
})
