import { join } from 'node:path'
import test from 'ava'
import { type Model, type ModelInputs, ReftConfig, Swift } from '../index.js'
import { base, failsWith, fixtures, readJson } from './support.js'

const NEW = 6

async function decoded(model: Model, inputs: ModelInputs): Promise<number[][]> {
  const steps: number[][] = []
  for await (const step of model.generate(inputs, { maxNewTokens: NEW, eosTokenId: [] })) steps.push(step)
  return steps
}

/** The same by passes over the whole text, without a cache; `inputs` says what a pass over this many tokens takes besides. */
async function looped(model: Model, prompt: number[][], inputs: (length: number) => ModelInputs): Promise<number[][]> {
  const rows = prompt.map(row => [...row])
  const steps: number[][] = []
  for (let i = 0; i < NEW; i++) {
    const length = rows[0].length
    const { logits } = await model.forward({ inputIds: rows, ...inputs(length) })
    const tokens = Array.from(logits!.narrow(1, length - 1, 1).argmax(-1).dataSync(), Number)
    tokens.forEach((token, row) => rows[row].push(token))
    steps.push(tokens)
  }
  return steps
}

const PROMPT = [[5, 9, 2, 77], [8, 1, 150, 3]]

test('position ids go on from the last one of each row', async t => {
  for (const name of ['llama', 'gpt2', 'qwen3', 'phi3']) {
    const model = await base(name)
    const plain = await decoded(model, { inputIds: PROMPT })
    t.deepEqual(await decoded(model, { inputIds: PROMPT, positionIds: [[0, 1, 2, 3], [0, 1, 2, 3]] }), plain, name)
    t.deepEqual(await decoded(model, { inputIds: PROMPT, positionIds: [0, 1, 2, 3] }), plain, name)
    // Rotary embeddings see distances only: a gap shows where a shift would not.
    const starts = [[0, 7, 9, 20], [2, 3, 4, 5]]
    const spread = await decoded(model, { inputIds: PROMPT, positionIds: starts })
    const positions = (length: number) => starts.map(row => [...row, ...Array.from({ length: length - 4 }, (_, i) => row[3] + 1 + i)])
    t.deepEqual(spread, await looped(model, PROMPT, length => ({ positionIds: positions(length) })), name)
    t.notDeepEqual(spread, plain, name)
  }
})

test('position ids of prompts that are padded on the left', async t => {
  const model = await base('gpt2')
  const padded = { inputIds: [[5, 9, 2, 77], [0, 0, 31, 4]], attentionMask: [[1, 1, 1, 1], [0, 0, 1, 1]] }
  t.deepEqual(await decoded(model, { ...padded, positionIds: [[0, 1, 2, 3], [0, 0, 0, 1]] }), await decoded(model, padded))
  const shifted = (await decoded(model, { ...padded, positionIds: [[0, 1, 2, 3], [0, 0, 5, 6]] })).map(step => step[1])
  const alone = await looped(model, [[31, 4]], length => ({ positionIds: [Array.from({ length }, (_, i) => 5 + i)] }))
  t.deepEqual(shifted, alone.flat())
})

test('a new token has the type of its row\'s last one', async t => {
  const model = await base('gpt2')
  const types = [[3, 3, 3, 8], [6, 6, 6, 6]]
  const typed = await decoded(model, { inputIds: PROMPT, tokenTypeIds: types })
  t.deepEqual(typed, await looped(model, PROMPT, length => ({ tokenTypeIds: types.map(row => [...row, ...Array(length - 4).fill(row[3])]) })))
  t.notDeepEqual(typed, await decoded(model, { inputIds: PROMPT }))
})

test('ReFT edits the positions of the prompt that it is told, and what is decoded stays as it is', async t => {
  const reft = new ReftConfig({ modelType: 'llama', layers: [0], r: 4 })
  const model = await Swift.prepareModel(await base(), { reft }, { seed: 2 })
  const interventionLocations = [[[0, 3]], [[2, 3]]]
  const located = await decoded(model, { inputIds: PROMPT, interventionLocations })
  t.deepEqual(located, await looped(model, PROMPT, () => ({ interventionLocations })))
  const everywhere = await decoded(model, { inputIds: PROMPT })
  t.deepEqual(everywhere, await looped(model, PROMPT, () => ({})))
  t.notDeepEqual(located, everywhere)
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => decoded(model, { inputIds: PROMPT, interventionLocations: [[[4]], [[0]]] }))
})

// The first layer fills the cache, by which later ones take the prompt's pass for a step of decoding.
test('ReFT edits the prompt in later layers, too', async t => {
  const reft = new ReftConfig({ modelType: 'llama', layers: [0, 2], r: 4 })
  const model = await Swift.prepareModel(await base(), { reft }, { seed: 2 })
  const interventionLocations = [[[0, 3], [1, 3]], [[2, 3], [0, 1]]]
  t.deepEqual(await decoded(model, { inputIds: PROMPT, interventionLocations }), await looped(model, PROMPT, () => ({ interventionLocations })))
})

test('inputs that decoding cannot carry are refused by name', async t => {
  const model = await base()
  const error = await failsWith(t, 'ERR_INVALID_ARGUMENT', () => decoded(model, { inputIds: PROMPT, labels: PROMPT }))
  t.is(error.message, 'labels: generate does not take this input')
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => decoded(model, { inputIds: PROMPT, decoderInputIds: PROMPT }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => decoded(model, { attentionMask: PROMPT }))
})

/** What transformers' generate gives greedily, by case, the prompt (of a decoder) or the start token before it. */
const generated: Record<string, number[][]> = readJson(join(fixtures, 'generate.json'))
for (const [name, rows] of Object.entries(generated)) {
  test.serial(`${name} generates as in Python`, async t => {
    const [case_, kind] = name.split(' ')
    const seq2seq = /t5/.test(case_)
    const left = kind === 'left'
    const model = /tuning|_|cartridge|shadow/.test(case_)
      ? await Swift.fromPretrained(await base(readJson(join(fixtures, 'peft', case_, 'case.json')).base), join(fixtures, 'peft', case_, 'checkpoint'))
      : await base('t5')
    const inputIds = left ? [[0, 0, 42, 9, 88], [5, 6, 77, 31, 12]] : [[3, 17, 42, 9, 88], [5, 6, 77, 31, 12]]
    const attentionMask = left ? [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]] : name === 't5-left' ? [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]] : undefined
    const steps: number[][] = []
    for await (const step of model.generate({ inputIds, attentionMask }, { maxNewTokens: 8, eosTokenId: [] })) steps.push(step)
    t.deepEqual(rows.map((_, row) => steps.map(step => step[row])), rows.map(row => row.slice(seq2seq ? 1 : 5)))
  })
}
