/** Runs over files that are cut off at random and resumed end in the files of runs that were not. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import {
  AdamW, AutoModel, AutoTokenizer, batches, encodeDataset, loadDataset, LoRAConfig, SFTTrainer, type SFTTrainerOptions, Swift, tokenAccuracy, Trainer, type ClassRow,
} from '../index.js'
import { demo, modelFolder, rng, temp } from './support.js'

const folder = join(demo, 'base-model')
const tokenizer = AutoTokenizer.fromPretrained(folder)
const source = readFileSync(join(demo, 'dataset/train.jsonl'))
const files = temp()
writeFileSync(join(files, 'rows.jsonl.gz'), gzipSync(source))

const WAYS: Record<string, Partial<SFTTrainerOptions>> = {
  'shuffled, by length': { batchSize: 4, groupByLength: true },
  packed: { packing: { size: 128, buffer: 40 } },
  'streamed from gzip, accumulated': { train: join(files, 'rows.jsonl.gz'), batchSize: 2, gradientAccumulation: 3, groupByLength: false },
}

for (const [name, way] of Object.entries(WAYS)) {
  test(`${name}: cut off at random and resumed, the adapter has the same bytes`, async t => {
    const next = rng(name.length)
    const run = async (directory: string, more: object) => {
      const model = await Swift.prepareModel(await AutoModel.fromPretrained(folder, { dtype: 'f32' }), { a: new LoRAConfig({ r: 4, targetModules: ['q_proj', 'v_proj'], loraDropout: 0.1 }) }, { seed: 3 })
      const trainer = new SFTTrainer({
        model, tokenizer: await tokenizer, train: join(demo, 'dataset/train.jsonl'), optimizer: new AdamW(model.parameters(), { lr: 2e-3 }), seed: 9, maxGradNorm: 1,
        checkpointDirectory: directory, checkpointEvery: 2, ...way, ...more,
      })
      return { model, trainer }
    }
    const bytes = async (model: Awaited<ReturnType<typeof run>>['model']) => {
      const saved = temp()
      await model.savePretrained(saved)
      return readFileSync(join(saved, 'a/adapter_model.safetensors'))
    }
    const whole = await run(temp(), {})
    await whole.trainer.run({ maxSteps: 9 })
    const expected = await bytes(whole.model)
    const directory = temp()
    for (let step = 0, resume = false; step < 9; resume = true) {
      const { model, trainer } = await run(directory, { resume })
      const until = step + 1 + Math.floor(next() * 4)
      for await (const { step: at } of trainer.run({ maxSteps: 9 })) {
        step = at
        if (at >= until && at < 9) break
      }
      if (step === 9) t.deepEqual(await bytes(model), expected)
      // What was done after the newest checkpoint is done again.
      else step -= step % 2
    }
  })
}

test('loss and accuracy over tokens are those of the logits', async t => {
  const model = await AutoModel.fromPretrained(folder, { dtype: 'f32' })
  const rows = encodeDataset(await tokenizer, loadDataset(join(demo, 'dataset/validation.jsonl')))
  const padTokenId = (await tokenizer).padTokenId!
  const [one, many] = [await tokenAccuracy(model, batches(rows, { batchSize: 1, padTokenId })), await tokenAccuracy(model, batches(rows, { batchSize: 16, padTokenId }))]
  t.is(one.tokens, many.tokens)
  t.is(one.accuracy, many.accuracy)
  t.true(one.accuracy > 0 && one.accuracy < 1 && Math.abs(one.loss - many.loss) < 1e-4, JSON.stringify([one, many]))
  const evaluated = await new Trainer({ model, train: [], evaluate: batches(rows, { batchSize: 8, padTokenId }), optimizer: new AdamW(model.parameters()) }).evaluate()
  t.true(Math.abs(evaluated - one.loss) < 1e-4)
})

test('texts with a class train a head of classes, from rows to the Trainer', async t => {
  const model = await Swift.prepareModel(await AutoModel.fromPretrained(modelFolder('bert-classifier'), { dtype: 'f32' }), { a: new LoRAConfig({ r: 4, targetModules: ['query', 'value'], modulesToSave: ['classifier'] }) }, { seed: 1 })
  const words = (text: string) => text.split(' ').map(word => 5 + (word.charCodeAt(0) % 80))
  const characters = { encode: words, decode: () => '', eosTokenId: 1 }
  const rows: ClassRow[] = Array.from({ length: 16 }, (_, i) => ({ text: i % 2 ? `north cold ${'wind '.repeat(i % 3)}snow` : `south warm ${'sand '.repeat(i % 4)}palm`, label: i % 2 }))
  const encoded = encodeDataset(characters, loadDataset<ClassRow>(rows, { format: 'classification' }))
  const trainer = new Trainer({ model, train: batches(encoded.shuffle(), { batchSize: 4, padTokenId: 0 }), optimizer: new AdamW(model.parameters(), { lr: 1e-2 }) })
  const losses: number[] = []
  for await (const { loss } of trainer.run({ epochs: 5 })) losses.push(loss)
  t.true(losses.at(-1)! < losses[0] / 2, losses.join())
  await t.throwsAsync(() => batches(encoded, { padTokenId: 0, packing: { size: 8 } }).toArray(), { message: /texts with a class/ })
})
