/** Training that goes on: losses are numbers, and nothing grows. */
import { Adafactor, AdamW, AdamW8bit, type Optimizer, type Parameter, SGD, Swift, Trainer } from '../../index.js'
import { base, IDS, lora } from '../support.js'
import { count, must, program } from './program.js'
import { rounds } from './resident.js'

const OPTIMIZERS: Record<string, (parameters: Parameter[]) => Optimizer> = {
  AdamW: p => new AdamW(p, { lr: 1e-3 }), AdamW8bit: p => new AdamW8bit(p, { lr: 1e-3 }), Adafactor: p => new Adafactor(p, { lr: 1e-3 }), SGD: p => new SGD(p, { lr: 1e-3 }),
}

program(async () => {
  const steps = count(500, 20)
  const inputs = { inputIds: IDS, labels: IDS }
  for (const [name, make] of Object.entries(OPTIMIZERS)) {
    const model = await Swift.prepareModel(await base(), { a: lora({ loraDropout: 0.1 }) }, { seed: 1 })
    const optimizer = make(model.parameters())
    model.train()
    let [first, last] = [NaN, NaN]
    await rounds(`steps of ${name}`, steps, async () => {
      const { loss } = await model.forward(inputs)
      last = (loss!.dataSync() as Float32Array)[0]
      if (Number.isNaN(first)) first = last
      await loss!.backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }, { growth: 16 })
    must(last < first, `${name}: the loss went from ${first} to ${last}`)
  }
  const model = await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
  const trainer = new Trainer({ model, train: [inputs], optimizer: new AdamW(model.parameters(), { lr: 1e-3 }) })
  const run = trainer.run({ maxSteps: steps })[Symbol.asyncIterator]()
  await rounds('steps of a Trainer', steps, async () => {
    const { done, value } = await run.next()
    must(!done && Number.isFinite(value.loss), 'the Trainer ended early, or its loss is no number')
  }, { growth: 16 })
})
