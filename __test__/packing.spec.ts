import { join } from 'node:path'
import test from 'ava'
import { type ModelInputs, type PeftModel, readSafetensors, Swift } from '../index.js'
import { base, failsWith, fixtures, gap, numbers, readJson } from './support.js'

interface Row { input_ids: number[]; labels: number[]; loss_sum: number; tokens: number }
interface Pack extends Row { position_ids: number[]; seq_lengths: number[]; rows: number[] }
interface Reference {
  rows: Row[]; packs: Pack[]; loss: { per_token: number; tokens: number }
  packing: { loss: number; wrong_if_attention_crosses: number; wrong_if_boundary_labels_count: number; grad_names: string[] }
  loss_scale: { weights: number[][]; sum: number; over_tokens: number }
}

const dir = join(fixtures, 'packing')
const reference = readJson(join(dir, 'llama.json')) as Reference
const tuned = async () => await Swift.fromPretrained(await base(), join(fixtures, 'peft/basic/checkpoint'), { inferenceMode: false }) as unknown as PeftModel
const near = (a: number, b: number) => Math.abs(a - b) <= 2e-5 * Math.max(1, Math.abs(b))

/** Σ nll over all packs, over all tokens. */
async function loss(model: PeftModel, inputs: (pack: Pack) => ModelInputs, backward = false): Promise<number> {
  let sum = 0
  for (const pack of reference.packs) {
    const out = await model.forward({ inputIds: [pack.input_ids], labels: [pack.labels], ...inputs(pack) }, { logits: false })
    const share = out.loss!.mul(pack.tokens / reference.loss.tokens)
    if (backward) await share.backward()
    sum += numbers(share)[0]
  }
  return sum
}

test('sequences that are packed in a row do not see each other', async t => {
  const model = await tuned()
  const gradients = await readSafetensors(join(dir, 'llama.safetensors'))
  for (const [what, inputs] of [
    ['lengths', (pack: Pack) => ({ seqLengths: [pack.seq_lengths] })],
    ['positions', (pack: Pack) => ({ positionIds: [pack.position_ids] })],
    ['both', (pack: Pack) => ({ seqLengths: [pack.seq_lengths], positionIds: [pack.position_ids] })],
    ['lengths and a mask', (pack: Pack) => ({ seqLengths: [pack.seq_lengths], attentionMask: [pack.input_ids.map(() => 1)] })],
  ] as const) {
    model.zeroGrad()
    const found = await loss(model, inputs, true)
    t.true(near(found, reference.packing.loss), `${what}: ${found}`)
    t.true(near(found, reference.loss.per_token), `${what}: ${found}`)
    for (const name of reference.packing.grad_names) {
      t.true(gap(numbers(model.gradient(name)!), numbers(gradients[`packing.grad.${name}`])) < 2e-5, `${what}: ${name}`)
    }
  }
  const crossed = await loss(model, pack => ({ attentionMask: [pack.input_ids.map(() => 1)] }))
  t.false(near(crossed, reference.packing.loss))
})

test('the first label of a packed sequence counts nothing', async t => {
  const model = await tuned()
  const ids = reference.packs[1].input_ids
  const inputs = { inputIds: [ids], seqLengths: [reference.packs[1].seq_lengths] }
  const marked = [...ids]
  let at = 0
  for (const length of reference.packs[1].seq_lengths) {
    marked[at] = -100
    at += length
  }
  const [all, without] = await Promise.all([ids, marked].map(async labels => numbers((await model.forward({ ...inputs, labels: [labels] })).loss!)[0]))
  t.is(all, without)
})

for (const name of ['llama', 'mistral', 'qwen3', 'qwen3-moe', 'gemma3', 'phi3', 'gpt2']) {
  test(`${name}: rows of several lengths are what each sequence is alone`, async t => {
    const model = await base(name)
    const parts = [[5, 9, 2, 77, 31, 4], [8, 1, 50], [3, 60, 7, 7, 1], [12]]
    const rows = [[parts[0], parts[1]], [parts[1], parts[2], parts[3]]]
    const alone = async (parts: number[][]) => {
      const all: number[] = []
      for (const part of parts) all.push(...numbers((await model.forward({ inputIds: [part] })).logits!))
      return all
    }
    const out = await model.forward({ inputIds: rows.map(row => row.flat()), seqLengths: rows.map(row => row.map(part => part.length)) })
    t.true(gap(numbers(out.logits!), await alone(rows.flat())) < 2e-4)
    // What is behind the last sequence is padding, as the mask says.
    const two = await alone([parts[1], parts[2]])
    const padded = await model.forward({ inputIds: [[...parts[1], ...parts[2], 0, 0]], seqLengths: [[3, 5]], attentionMask: [[1, 1, 1, 1, 1, 1, 1, 1, 0, 0]] })
    t.true(gap(numbers(padded.logits!).slice(0, two.length), two) < 2e-4)
  })
}

test('labels count as much as their weights say, over the number of labels', async t => {
  const model = await tuned()
  const { weights, sum, over_tokens } = reference.loss_scale
  for (const logits of [true, false]) {
    let total = 0
    for (const [i, row] of reference.rows.entries()) {
      const out = await model.forward({ inputIds: [row.input_ids], labels: [row.labels], lossScale: [weights[i]] }, { logits })
      total += numbers(out.loss!)[0] * row.tokens
    }
    t.true(near(total, sum), `${total}`)
    t.true(near(total / reference.loss.tokens, over_tokens))
  }
  const ones = { inputIds: [reference.rows[0].input_ids], labels: [reference.rows[0].labels] }
  const plain = numbers((await model.forward(ones)).loss!)[0]
  t.is(numbers((await model.forward({ ...ones, lossScale: [reference.rows[0].labels.map(() => 1)] })).loss!)[0], plain)
})

test('lengths and weights that do not fit are refused by name', async t => {
  const model = await base()
  const ids = [[5, 9, 2, 77], [8, 1, 15, 3]]
  for (const [inputs, said] of [
    [{ seqLengths: [[2, 2]] }, /seqLengths/], [{ seqLengths: [[2, 2], [2, 1]] }, /seqLengths: those of row 1 add up to 3/],
    [{ seqLengths: [[2, 2], [2, 3]] }, /seqLengths: row 1/], [{ seqLengths: [2, 2] }, /seqLengths: expected a list of lengths per row/],
    [{ seqLengths: [[2, -2], [4]] }, /seqLengths/], [{ seqLengths: [[2, 2], [4]], positionIds: [[0, 1, 2, 3]] }, /positionIds begin again at other places/],
    [{ lossScale: [[1, 1, 1, 1], [1, 1, 1, 1]] }, /lossScale: goes with the labels/],
    [{ labels: ids, lossScale: [[1, 1]] }, /lossScale: expected shape/], [{ labels: ids, lossScale: [[1, 1, 1, NaN], [1, 1, 1, 1]] }, /lossScale/],
  ] as const) {
    const error = await t.throwsAsync(async () => model.forward({ inputIds: ids, ...inputs } as unknown as ModelInputs))
    t.regex(error!.message, said)
  }
  const bert = await base('bert')
  t.regex((await failsWith(t, 'ERR_INVALID_ARGUMENT', () => bert.forward({ inputIds: ids, seqLengths: [[2, 2], [4]] }))).message, /seqLengths: \w+ does not keep/)
  await failsWith(t, 'ERR_INVALID_ARGUMENT', async () => {
    for await (const _ of model.generate({ inputIds: ids, seqLengths: [[2, 2], [4]] }, { maxNewTokens: 2 }));
  })
})
