/** A training run in a process of its own, which trainer.spec.ts kills: prints each step. */
import { AdamW, type Model, Swift, Trainer } from '../index.js'
import { base, IDS, lora } from './support.js'

const batches = Array.from({ length: 4 }, (_, i) => {
  const inputIds = IDS.map(row => row.map(id => (id + 7 * i) % 160))
  return { inputIds, labels: inputIds }
})

/** Runs to the end, from the last checkpoint of `checkpointDirectory` if there is one. */
export async function train(checkpointDirectory: string, onStep: (step: number) => void = () => {}): Promise<Model> {
  const model = await Swift.prepareModel(await base(), { a: lora({ loraDropout: 0.2 }) }, { seed: 1 })
  const trainer = new Trainer({
    model, train: batches, optimizer: new AdamW(model.parameters(), { lr: 0.01 }), seed: 11, checkpointDirectory, checkpointEvery: 1, resume: true,
    schedule: { name: 'cosine', totalSteps: 12 },
  })
  for await (const step of trainer.run({ epochs: 3 })) onStep(step.step)
  return model
}

if (require.main === module) void train(process.argv[2], step => process.stdout.write(`${step}\n`))
