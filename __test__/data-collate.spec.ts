/** Batches: padded, packed, grouped, and the same again for a resumed run. */
import { join } from 'node:path'
import test from 'ava'
import { AdamW, batches, type BatchesOptions, collate, type Encoded, loadDataset, type ModelInputs, packRows, Swift, Trainer } from '../index.js'
import { base, failsWith, fixtures, lora, readJson, rng, temp } from './support.js'

interface Arrays { input_ids: number[][]; labels: number[][]; attention_mask: number[][]; position_ids: number[][] }
interface Pack { rows: number[]; input_ids: number[]; labels: number[]; position_ids: number[]; seq_lengths: number[] }
const reference = readJson(join(fixtures, 'labels/collate.json')) as {
  pad: number; rows: { input_ids: number[]; labels: number[] }[]; right: Arrays; left: Arrays; right_multiple_of_8: Arrays
  padding_free: Arrays & { seq_lengths: number[] }; packed: { size: number; packs: Pack[] }
}
const rows: Encoded[] = reference.rows.map(({ input_ids: inputIds, labels }) => ({ inputIds, labels }))
const padTokenId = reference.pad
const ours = ({ input_ids, labels, attention_mask, position_ids }: Arrays): ModelInputs =>
  ({ inputIds: input_ids, attentionMask: attention_mask, labels, positionIds: position_ids })

test('padding on either side, and to a multiple', t => {
  const three = rows.slice(0, 3)
  t.deepEqual(collate(three, { padTokenId }), ours(reference.right))
  t.deepEqual(collate(three, { padTokenId, paddingSide: 'left' }), ours(reference.left))
  t.deepEqual(collate(three, { padTokenId, padToMultipleOf: 8 }), ours(reference.right_multiple_of_8))
  t.deepEqual(collate([{ inputIds: [1], labels: [1] }, { inputIds: [2, 3], labels: [-100, 3], lossScale: [0, 2] }], { padTokenId: 9, positionIds: false }), {
    inputIds: [[1, 9], [2, 3]], attentionMask: [[1, 0], [1, 1]], labels: [[1, -100], [-100, 3]], lossScale: [[1, 0], [0, 2]],
  })
})

test('rows without padding between them, and packed ones', t => {
  const free = reference.padding_free
  t.deepEqual(packRows(rows.slice(0, 3), { size: 1000, strategy: 'sequential' }), [
    { inputIds: free.input_ids[0], labels: free.labels[0], positionIds: free.position_ids[0], seqLengths: free.seq_lengths },
  ])
  t.deepEqual(packRows(rows, { size: reference.packed.size }), reference.packed.packs.map(p => ({ inputIds: p.input_ids, labels: p.labels, positionIds: p.position_ids, seqLengths: p.seq_lengths })))
})

const read = async (options: BatchesOptions, data: Encoded[], epoch = 0, seed = 0) => {
  const out: ModelInputs[] = []
  for await (const batch of batches(data, options).forEpoch(epoch, seed)) out.push(batch)
  return out
}
const next = rng(3)
const many: Encoded[] = Array.from({ length: 103 }, (_, i) => {
  const inputIds = Array.from({ length: 1 + Math.floor(next() * 30) }, () => 200 + i)
  return { inputIds, labels: [...inputIds] }
})
const idsOf = (batch: ModelInputs) => batch.inputIds as number[][]
/** Which rows are in batches, by their tokens. */
const seen = (all: ModelInputs[]) => all.flatMap(batch => idsOf(batch).map(row => row.find(id => id !== padTokenId)! - 200))
const waste = (all: ModelInputs[]) => all.flatMap(batch => (batch.attentionMask as number[][]).flat()).filter(x => x === 0).length

test('batches by rows and by tokens', async t => {
  const bySize = await read({ padTokenId, batchSize: 10 }, many)
  t.deepEqual(bySize.map(batch => idsOf(batch).length), [...Array.from({ length: 10 }, () => 10), 3])
  t.deepEqual(seen(bySize), [...many.keys()])
  t.is((await read({ padTokenId, batchSize: 10, dropLast: true }, many)).length, 10)
  t.false('positionIds' in bySize[0], 'they are what models count anyway')
  t.true('positionIds' in (await read({ padTokenId, batchSize: 10, paddingSide: 'left' }, many))[0])
  const byTokens = await read({ padTokenId, maxTokens: 128, padToMultipleOf: 8 }, many)
  t.deepEqual(seen(byTokens), [...many.keys()])
  for (const batch of byTokens) t.true(idsOf(batch).flat().length <= 128 && idsOf(batch)[0].length % 8 === 0)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => read({ padTokenId, maxTokens: 20 }, many))
})

test('rows of like lengths together waste less, in an order of the epoch', async t => {
  const options = { padTokenId, batchSize: 10, groupByLength: true, seed: 1 }
  const grouped = await read(options, many)
  t.deepEqual(seen(grouped).toSorted((a, b) => a - b), [...many.keys()])
  t.true(waste(grouped) * 3 < waste(await read({ padTokenId, batchSize: 10 }, many)))
  t.deepEqual(await read(options, many, 0, 5), grouped)
  t.notDeepEqual(await read(options, many, 1), grouped)
  const windows = await read({ ...options, groupByLength: { window: 40 } }, many)
  t.deepEqual(seen(windows).toSorted((a, b) => a - b), [...many.keys()])
  t.true(Math.max(...seen(windows.slice(0, 4))) < 40)
  t.is((await read({ ...options, dropLast: true }, many)).length, 10)
  t.deepEqual(seen(await read({ padTokenId, maxTokens: 200, groupByLength: true }, many)).toSorted((a, b) => a - b), [...many.keys()])
})

test('packed batches hold each token once', async t => {
  const packed = await read({ padTokenId, packing: { size: 64, buffer: 40 } }, many)
  const tokens = packed.flatMap(batch => idsOf(batch)[0])
  t.deepEqual(tokens.toSorted((a, b) => a - b), many.flatMap(({ inputIds }) => inputIds))
  for (const batch of packed) {
    t.is((batch.seqLengths as number[][])[0].reduce((a, b) => a + b, 0), idsOf(batch)[0].length)
    t.deepEqual(Object.keys(batch).toSorted(), ['inputIds', 'labels', 'positionIds', 'seqLengths'])
  }
})

test('a run that goes on sees the batches that it would have seen', async t => {
  const data = loadDataset<Encoded>(many.map(({ inputIds, labels }) => ({ inputIds: inputIds.map(id => id % 150), labels: labels.map(id => id % 150) })), { format: 'raw' })
  const train = batches(data.shuffle({ bufferSize: 30 }), { padTokenId: 0, batchSize: 20, groupByLength: { window: 40 } })
  const run = async (directory: string, ...parts: number[]) => {
    const losses: number[] = []
    for (const maxSteps of parts) {
      const model = await Swift.prepareModel(await base(), lora({ initLoraWeights: true }), {})
      const trainer = new Trainer({ model, train, optimizer: new AdamW(model.parameters(), { lr: 1e-2 }), seed: 4, checkpointDirectory: directory, checkpointEvery: 1, resume: true })
      for await (const step of trainer.run({ maxSteps })) losses.push(step.loss)
    }
    return losses
  }
  const whole = await run(temp(), 11)
  t.is(whole.length, 11)
  t.true(new Set(whole).size > 9)
  t.deepEqual(await run(temp(), 4, 11), whole)
})

test('what is wrong is said', async t => {
  const wrong: [BatchesOptions, RegExp][] = [
    [{ padTokenId }, /batchSize: missing; give it, maxTokens or packing/],
    [{ padTokenId, batchSize: 1, maxTokens: 5 }, /batchSize and maxTokens: give one of them/],
    [{ batchSize: 1 } as BatchesOptions, /padTokenId: missing/],
    [{ padTokenId, packing: { size: 8 }, groupByLength: true }, /groupByLength: packed rows/],
    [{ padTokenId, packing: {} as { size: number } }, /size: missing/],
    [{ padTokenId, batch_size: 4 } as unknown as BatchesOptions, /did you mean batchSize/],
  ]
  for (const [options, message] of wrong) t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => batches(rows, options))).message, message)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => read({ padTokenId, batchSize: 1 }, [{ text: 'x' } as unknown as Encoded]))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => collate([], { padTokenId }))
})
