import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AutoModel, type Model, readSafetensors, Swift, type Tensor } from '../index.js'
import { embed, MODEL_VARIABLE, modelDirectory, trainIntents } from '../examples/sentence-embeddings.js'
import { demo, gap, numbers, readJson } from './support.js'

const directory = modelDirectory()
const run = directory && existsSync(directory) ? test.serial : test.serial.skip
const where = `needs all-MiniLM-L6-v2; set ${MODEL_VARIABLE}`

run(`all-MiniLM-L6-v2 gives transformers' embeddings, with and without an adapter (${where})`, async t => {
  const reference: Record<string, Tensor> = await readSafetensors(join(demo, 'minilm/reference.safetensors'))
  const inputs = { inputIds: reference.input_ids, attentionMask: reference.attention_mask, tokenTypeIds: reference.token_type_ids }
  const close = async (model: Model, key: string) => t.true(gap(numbers(await embed(model, inputs)), numbers(reference[key])) < 1e-4, key)
  const model = await AutoModel.fromPretrained(directory!)
  await close(model, 'embeddings.base')
  await close(await Swift.fromPretrained(model, join(demo, 'minilm/random-adapter')), 'embeddings.random_adapter')
})

run(`the intent fine-tune follows PEFT's losses (${where})`, async t => {
  const expected = readJson(join(demo, 'minilm/yardstick.json'))['lora-r8-query-value']
  const result = await trainIntents(directory!, { initial: join(demo, 'minilm/init-adapter'), quiet: true })
  t.true(gap(result.losses.slice(0, 24), expected.losses.slice(0, 24)) < 2e-3, `${result.losses.slice(0, 24)} for ${expected.losses.slice(0, 24)}`)
  t.true(Math.abs(result.testAccuracy - expected.after.testAccuracy) <= 0.05)
})
