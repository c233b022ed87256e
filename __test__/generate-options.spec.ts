import { join } from 'node:path'
import test from 'ava'
import { AutoTokenizer, type GenerateOptions, type GenerateStepsOptions, type GenerationStep, type Model, type ModelInputs, Swift, PromptTuningConfig } from '../index.js'
import { base, demo, failsWith, gap, numbers } from './support.js'

const PROMPT = [[5, 9, 2, 77]]

async function ids(model: Model, inputs: ModelInputs, options: GenerateOptions = {}): Promise<number[][]> {
  const out: number[][] = []
  for await (const step of model.generate(inputs, { eosTokenId: [], ...options })) out.push(step)
  return out
}
async function steps(model: Model, inputs: ModelInputs, options: GenerateStepsOptions = {}): Promise<GenerationStep[]> {
  const out: GenerationStep[] = []
  for await (const step of model.generateSteps(inputs, { eosTokenId: [], ...options })) out.push(step)
  return out
}

test('options that cannot be are refused before anything is computed', async t => {
  const model = await base()
  const wrong: Record<string, unknown[]> = {
    maxNewTokens: [-1, 0, 1.5, NaN, Infinity, '3', 2 ** 53],
    temperature: [-1, NaN, Infinity, '1'],
    topK: [-1, 1.5],
    topP: [0, 2, -0.1, NaN],
    minP: [-0.1, 1.5],
    seed: [-1, 0.5],
    repetitionPenalty: [0, -1, NaN],
    presencePenalty: [-3, 3],
    frequencyPenalty: [-3, 3],
    eosTokenId: ['</s>', -1, 99999, [1, -1], 0.5],
    padTokenId: [-1, 99999],
    contextOverflow: ['shift'],
    stopStrings: ['', [], [3]],
    tokenizer: [{}],
    signal: [{}],
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      const temperature = /^(top|min)/.test(name) ? { temperature: 1 } : {}
      const error = await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, { inputIds: PROMPT }, { ...temperature, [name]: value }))
      t.true(error.message.startsWith(`generate: ${name}: `), error.message)
    }
  }
  for (const [name, near] of [['max_new_tokens', 'maxNewTokens'], ['maxTokens', 'maxNewTokens'], ['top_k', 'topK'], ['doSample', 'temperature'], ['stop', 'stopStrings'], ['logprobs', 'generateSteps']]) {
    t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, { inputIds: PROMPT }, { [name]: 3 }))).message, new RegExp(`there is no option ${name}.*${near}`))
  }
  // What would be without effect.
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, { inputIds: PROMPT }, { topP: 0.9 }))).message, /topP: needs a temperature above 0/)
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, { inputIds: PROMPT }, { stopStrings: 'a' }))).message, /needs a tokenizer/)
  t.deepEqual(await ids(model, { inputIds: PROMPT }, { maxNewTokens: undefined, temperature: undefined, contextOverflow: 'stop' }).then(all => all.length), 64)
})

test('a generation never runs past the model\'s context', async t => {
  for (const name of ['llama', 'gpt2']) {
    const model = await base(name)
    const long = { inputIds: [Array.from({ length: 120 }, (_, i) => i)] }
    t.is((await ids(model, long)).length, 8, 'the default is what there is room for')
    const error = await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, long, { maxNewTokens: 9 }))
    t.regex(error.message, /9 new tokens after a prompt of 120 are more than the model's context of 128/)
    t.is((await ids(model, long, { maxNewTokens: 9, contextOverflow: 'stop' })).length, 8)
    const last = (await steps(model, long, { maxNewTokens: 9, contextOverflow: 'stop' })).at(-1)!
    t.deepEqual(last.finishReasons, ['length'])
    const cut = await ids(model, long, { maxNewTokens: 20, contextOverflow: 'truncate' })
    t.deepEqual(cut, await ids(model, { inputIds: [long.inputIds[0].slice(-108)] }, { maxNewTokens: 20 }))
    const full = { inputIds: [Array.from({ length: 128 }, (_, i) => i)] }
    await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, full))
    await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, full, { contextOverflow: 'stop' }))
    await failsWith(t, 'ERR_INVALID_CONFIG', () => ids(model, { inputIds: PROMPT, positionIds: [[120, 121, 122, 123]] }, { maxNewTokens: 5 }))
    t.is((await ids(model, { inputIds: PROMPT, positionIds: [[120, 121, 122, 123]] }, { maxNewTokens: 4 })).length, 4)
    // Padding takes no room.
    const padded = { inputIds: [Array(120).fill(3), [...Array(60).fill(0), ...Array(60).fill(4)]], attentionMask: [Array(120).fill(1), [...Array(60).fill(0), ...Array(60).fill(1)]] }
    t.is((await ids(model, padded)).length, 8)
    t.is((await ids(model, { inputIds: [padded.inputIds[1]], attentionMask: [padded.attentionMask[1]] })).length, 64)
  }
  const tuned = await Swift.prepareModel(await base(), new PromptTuningConfig({ taskType: 'CAUSAL_LM', numVirtualTokens: 10 }))
  t.is((await ids(tuned, { inputIds: [Array(110).fill(3)] })).length, 8, 'virtual tokens take room')
})

test('penalties act on the logits before the choice', async t => {
  const model = await base()
  // A token that the model likes best again and again.
  const plain = (await ids(model, { inputIds: PROMPT }, { maxNewTokens: 12 })).flat()
  const { logits } = await model.forward({ inputIds: PROMPT })
  const first = numbers(logits!.narrow(1, 3, 1))
  const penalised = first.map((x, id) => (PROMPT[0].includes(id) ? (x < 0 ? x * 1.8 : x / 1.8) : x))
  t.is((await ids(model, { inputIds: PROMPT }, { maxNewTokens: 1, repetitionPenalty: 1.8 }))[0][0], penalised.indexOf(Math.max(...penalised)))
  t.is(new Set((await ids(model, { inputIds: PROMPT }, { maxNewTokens: 12, presencePenalty: 2, frequencyPenalty: 2 })).flat()).size >= new Set(plain).size, true)
  // 2 for each time that it was there: the choice by hand.
  const rows = [...PROMPT[0]]
  const counts = new Map<number, number>()
  for (let i = 0; i < 6; i++) {
    const out = numbers((await model.forward({ inputIds: [rows] })).logits!.narrow(1, rows.length - 1, 1))
    const changed = out.map((x, id) => x - (counts.has(id) ? 0.5 : 0) - 1.5 * (counts.get(id) ?? 0))
    const token = changed.indexOf(Math.max(...changed))
    rows.push(token)
    counts.set(token, (counts.get(token) ?? 0) + 1)
  }
  t.deepEqual((await ids(model, { inputIds: PROMPT }, { maxNewTokens: 6, presencePenalty: 0.5, frequencyPenalty: 1.5 })).flat(), rows.slice(4))
})

test('log-probabilities are those of the model, whatever is made of them', async t => {
  const model = await base()
  const inputIds = [[5, 9, 2, 77], [8, 1, 150, 3]]
  const found = await steps(model, { inputIds }, { maxNewTokens: 3, logprobs: 4, temperature: 0.7, topK: 20, repetitionPenalty: 1.3, seed: 4 })
  const rows = inputIds.map(row => [...row])
  for (const step of found) {
    const { logits } = await model.forward({ inputIds: rows })
    const expected = logits!.narrow(1, rows[0].length - 1, 1).logSoftmax(-1)
    step.logprobs!.forEach((told, row) => {
      const all = numbers(expected.narrow(0, row, 1))
      t.is(told!.tokenId, step.tokenIds[row])
      t.true(Math.abs(told!.logprob - all[told!.tokenId]) < 1e-5)
      const best = all.map((_, id) => id).sort((a, b) => all[b] - all[a]).slice(0, 4)
      t.deepEqual(told!.top.map(({ tokenId }) => tokenId), best)
      t.true(gap(told!.top.map(({ logprob }) => logprob), best.map(id => all[id])) < 1e-5)
      rows[row].push(step.tokenIds[row])
    })
  }
  const none = await steps(model, { inputIds }, { maxNewTokens: 2, logprobs: 0 })
  t.deepEqual(none.map(step => step.logprobs!.map(told => told!.top)), [[[], []], [[], []]])
  t.is((await steps(model, { inputIds }, { maxNewTokens: 1 }))[0].logprobs, undefined)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => steps(model, { inputIds }, { logprobs: 21 }))
})

test('stop strings end a row, and its text goes as far as they begin', async t => {
  const tokenizer = await AutoTokenizer.fromPretrained(join(demo, 'base-model'))
  const { AutoModel } = await import('../index.js')
  const model = await AutoModel.fromPretrained(join(demo, 'base-model'), { dtype: 'f32' })
  const inputs = { ...tokenizer.encodeBatch(['user: Turn on the light in the kitchen.\nassistant:', 'The fox'], { paddingSide: 'left' }) }
  const plain = await steps(model, inputs, { maxNewTokens: 24, tokenizer })
  const whole = [0, 1].map(row => tokenizer.decode(plain.map(step => step.tokenIds[row])))
  t.deepEqual([0, 1].map(row => plain.map(step => step.texts![row]).join('')), whole)
  for (const [row, text] of whole.entries()) {
    // Two characters from the middle, which may be parts of two tokens.
    const stop = text.slice(Math.floor(text.length / 2), Math.floor(text.length / 2) + 2)
    const at = text.indexOf(stop)
    const found = await steps(model, inputs, { maxNewTokens: 24, tokenizer, stopStrings: [stop, 'nowhere at all'] })
    t.is(found.map(step => step.texts![row]).join(''), text.slice(0, at))
    const end = found.findIndex(step => step.finishReasons[row] === 'stop')
    const written = found.slice(0, end + 1).map(step => step.tokenIds[row])
    t.true(tokenizer.decode(written).includes(stop) && !tokenizer.decode(written.slice(0, -1)).includes(stop))
    const tokens = await ids(model, inputs, { maxNewTokens: 24, tokenizer, stopStrings: stop })
    t.deepEqual(tokens.slice(0, end + 1).map(step => step[row]), written)
    if (end + 1 < tokens.length) t.is(tokens[end + 1][row], (model.config.pad_token_id ?? 0) as number, 'the row has ended')
  }
})

test('an end token of one\'s own ends rows one by one', async t => {
  const model = await base()
  const inputIds = [[5, 9, 2, 77], [8, 1, 150, 3]]
  const plain = await ids(model, { inputIds }, { maxNewTokens: 8 })
  const eosTokenId = plain[2][0]
  const first = plain.findIndex(step => step[0] === eosTokenId)
  const found = await steps(model, { inputIds }, { maxNewTokens: 8, eosTokenId, padTokenId: 7 })
  t.is(found[first].finishReasons[0], 'eos')
  t.true(found.slice(first + 1).every(step => step.tokenIds[0] === 7))
  t.is(found.at(-1)!.finishReasons[1] === 'eos' || found.length === 8, true)
})

test('embedded prompts continue as their tokens do', async t => {
  const model = await base()
  const table = model.parameter('model.embed_tokens.weight')
  const { Tensor } = await import('../index.js')
  const embedded = table.indexSelect(0, Tensor.from(PROMPT[0], undefined, { dtype: 'i64' })).unsqueeze(0)
  t.deepEqual(await ids(model, { inputsEmbeds: embedded }, { maxNewTokens: 6 }), await ids(model, { inputIds: PROMPT }, { maxNewTokens: 6 }))
  t.deepEqual(await ids(model, { inputsEmbeds: embedded.toDtype('f64') }, { maxNewTokens: 6 }), await ids(model, { inputIds: PROMPT }, { maxNewTokens: 6 }), 'in another dtype')
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => ids(model, { inputsEmbeds: embedded, inputIds: PROMPT }))
})

test('rows packed of several sequences are kept apart, and refused where they cannot be', async t => {
  const parts = [[5, 9, 2], [77, 31, 4, 8, 1]]
  const packed = { inputIds: [parts.flat()], positionIds: [[0, 1, 2, 0, 1, 2, 3, 4]] }
  for (const name of ['llama', 'gpt2', 'mistral', 'gemma3']) {
    const model = await base(name)
    const { logits } = await model.forward(packed)
    const alone = []
    for (const part of parts) alone.push(...numbers((await model.forward({ inputIds: [part] })).logits!))
    t.true(gap(numbers(logits!), alone) < 1e-4, name)
  }
  const model = await base()
  const masked = await model.forward({ ...packed, attentionMask: [Array(8).fill(1)] })
  t.deepEqual(numbers(masked.logits!), numbers((await model.forward(packed)).logits!))
  // The loss is that of the sequences apart: a first token is told by nothing.
  const { loss } = await model.forward({ ...packed, labels: packed.inputIds })
  const losses = await Promise.all(parts.map(async part => (await model.forward({ inputIds: [part], labels: [part] })).loss!.item() * (part.length - 1)))
  t.true(Math.abs(loss!.item() - (losses[0] + losses[1]) / 6) < 1e-5)
  t.regex((await failsWith(t, 'ERR_INVALID_ARGUMENT', () => ids(model, packed))).message, /positionIds: they begin again within a row/)
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => model.forward({ inputIds: PROMPT, positionIds: [[-1, 0, 1, 2]] }))
  const prompted = await Swift.prepareModel(await base(), new PromptTuningConfig({ taskType: 'CAUSAL_LM', numVirtualTokens: 2 }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => prompted.forward(packed))
})

test('generating changes nothing of what a training run draws', async t => {
  const model = await base()
  model.train()
  const before = model.native.drawn
  await ids(model, { inputIds: PROMPT }, { maxNewTokens: 3 })
  t.is(model.native.drawn, before)
})
