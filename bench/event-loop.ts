/**
 * `npm run bench:lag`: how late a 10 ms timer fires while a model trains, loads and saves. Reports the 50th, 99th percentile
 * and the maximum; the aim is a 99th percentile under 20 ms.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { AdamW, AutoModel, LoRAConfig, Swift, type SwiftModel, Trainer } from '../index.js'

const demo = resolve(__dirname, '../../examples/demo/base-model')

async function measure(what: string, work: () => Promise<void>): Promise<void> {
  const late: number[] = []
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    late.push(Math.max(0, now - last - 10))
    last = now
  }, 10)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const started = performance.now()
  await work()
  delay.disable()
  clearInterval(timer)
  late.sort((a, b) => a - b)
  const at = (q: number) => (late[Math.min(late.length - 1, Math.floor(q * late.length))] ?? 0).toFixed(1)
  console.log(`${what.padEnd(34)} ${((performance.now() - started) / 1000).toFixed(1)} s   timer lag: median ${at(0.5)} ms, 99 % ${at(0.99)} ms, `
    + `max ${at(1)} ms   (loop delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms)`)
}

async function main(): Promise<void> {
  let model: SwiftModel
  await measure('load 5 times', async () => {
    for (let i = 0; i < 5; i++) {
      const base = await AutoModel.fromPretrained(demo, { dtype: 'f32' })
      model = await Swift.prepareModel(base, { a: new LoRAConfig({ r: 8, targetModules: 'all-linear' }) })
    }
  })
  const ids = Array.from({ length: 12 }, (_, i) => Array.from({ length: 128 }, (_, j) => (17 * i + 31 * j) % 4096))
  const train = Array.from({ length: 30 }, () => ({ inputIds: ids, labels: ids }))
  await measure('train 30 steps of 12 x 128 tokens', async () => {
    const trainer = new Trainer({ model, train, optimizer: new AdamW(model.parameters(), { lr: 1e-4 }) })
    for await (const _step of trainer.run()) { /* the loop itself is what is measured */ }
  })
  const dir = mkdtempSync(join(tmpdir(), 'swift-tuners-lag-'))
  await measure('save 20 times', async () => {
    for (let i = 0; i < 20; i++) await model.savePretrained(join(dir, 'adapter'))
  })
}

void main()
