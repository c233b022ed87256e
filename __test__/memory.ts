/** Run in a process of its own by memory.spec.ts: measures resident memory and prints it as JSON. */
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { AutoModel, LoRAConfig, nn, Swift } from '../index.js'

const MIB = 2 ** 20
const rss = () => process.memoryUsage.rss() / MIB

/** Two adapters, of which one has 8 × 16 MiB. */
async function offload() {
  const base = await AutoModel.fromModules(nn.sequential(Array.from({ length: 8 }, () => nn.linear(2048, 2048))))
  const all = '.*\\d'
  const model = await Swift.prepareModel(base, {
    large: new LoRAConfig({ r: 1024, targetModules: all, initLoraWeights: false }), small: new LoRAConfig({ r: 2, targetModules: all }),
  })
  const sizes = [rss()]
  model.setActiveAdapters('small', { offload: 'meta' })
  sizes.push(rss())
  model.setActiveAdapters('large')
  sizes.push(rss())
  model.deactivateAdapter('large', { offload: 'meta' })
  sizes.push(rss())
  return { sizes }
}

/** 256 MiB of weights used by eight threads. */
async function threads() {
  process.env.USE_UNIQUE_THREAD = '0'
  const base = await AutoModel.fromModules(nn.sequential({ embed: nn.embedding(65_536, 1024), pool: nn.meanPool(), head: nn.linear(1024, 8) }))
  const lora = (r: number) => new LoRAConfig({ r, targetModules: ['head'], initLoraWeights: false })
  const model = await Swift.prepareModel(base, { a: lora(2), b: lora(4) })
  const inputs = { inputIds: [[1, 2, 3]] }
  const start = rss()
  const workers = Array.from({ length: 8 }, () => new Worker(join(__dirname, 'worker.js'), { workerData: { handle: model.share(), inputs } }))
  const ask = (message: object) => Promise.all(workers.map(w => new Promise((done, fail) => {
    w.once('message', done)
    w.once('error', fail)
    w.postMessage(message)
  })))
  const switches = { op: 'switches', names: Array.from({ length: 100 }, (_, i) => (i % 2 ? 'a' : 'b')) }
  await ask(switches)
  const first = rss()
  for (let i = 0; i < 3; i++) await ask(switches)
  const last = rss()
  await Promise.all(workers.map(w => w.terminate()))
  return { start, first, last }
}

/** Models of 64 MiB, made one after another and never disposed of. */
async function dropped() {
  const start = rss()
  const one = () => AutoModel.fromModules(nn.sequential(Array.from({ length: 4 }, () => nn.linear(2048, 2048))))
  await one()
  const size = rss() - start
  let most = 0
  for (let i = 0; i < 24; i++) {
    await one()
    // Finalizers run between tasks.
    await new Promise(done => setImmediate(done))
    most = Math.max(most, rss() - start)
  }
  return { size: Math.max(size, 64), most }
}

void { offload, threads, dropped }[process.argv[2] as 'offload' | 'threads' | 'dropped']().then(found => console.log(JSON.stringify(found)))
