import test from 'ava'
import { AdamW, AutoModel, infoNCELoss, LoRAConfig, meanPooling, type ModelInputs, Swift, Tensor, Trainer } from '../index.js'
import { gap, modelFolder, numbers, randomTensor, rng } from './support.js'

test('InfoNCE is the cross-entropy of scaled cosines, with negatives of one\'s own behind', t => {
  // torch.nn.functional.cross_entropy(F.normalize(q) @ F.normalize(d).T / 0.1, torch.arange(2))
  const queries = Tensor.from([[1, 2, 2], [-1, 0.5, 3]])
  const documents = Tensor.from([[2, 1, 2], [0, 1, 4], [1, -1, 0]])
  const unit = (v: number[]) => v.map(x => x / Math.hypot(...v))
  const [q, d] = [[[1, 2, 2], [-1, 0.5, 3]].map(unit), [[2, 1, 2], [0, 1, 4], [1, -1, 0]].map(unit)]
  const loss = q.map((row, i) => {
    const scores = d.map(other => row.reduce((s, x, k) => s + x * other[k], 0) / 0.1)
    return Math.log(scores.reduce((s, x) => s + Math.exp(x), 0)) - scores[i]
  })
  t.true(Math.abs(infoNCELoss(queries, documents, { temperature: 0.1 }).item() - (loss[0] + loss[1]) / 2) < 1e-5)
  t.throws(() => infoNCELoss(documents, queries), { message: /documents: expected \[at least 3, 3\]/ })
  t.throws(() => infoNCELoss(queries, documents, { temperature: 0 }), { code: 'ERR_INVALID_CONFIG' })
})

test('means leave padding out', t => {
  const hidden = randomTensor([2, 3, 4], rng(1))
  const pooled = numbers(meanPooling(hidden, [[1, 1, 0], [1, 1, 1]]))
  const all = numbers(hidden)
  const expected = [0, 1].flatMap(row => [0, 1, 2, 3].map(k => {
    const places = row === 0 ? [0, 1] : [0, 1, 2]
    return places.reduce((s, at) => s + all[row * 12 + at * 4 + k], 0) / places.length
  }))
  t.true(gap(pooled, expected) < 1e-6)
  t.throws(() => meanPooling(hidden, [[1, 1]]), { code: 'ERR_INVALID_ARGUMENT' })
})

test('an encoder learns through the Trainer to find what belongs together', async t => {
  const model = await Swift.prepareModel(await AutoModel.fromPretrained(modelFolder('bert'), { dtype: 'f32' }), { a: new LoRAConfig({ r: 4, targetModules: ['query', 'value'] }) }, { seed: 2 })
  const texts = Array.from({ length: 6 }, (_, i) => [5 + i, 20 + i, 40 + 2 * i])
  const batch: ModelInputs = { inputIds: [...texts, ...texts.map(row => row.toReversed())], attentionMask: [...texts, ...texts].map(row => row.map(() => 1)) }
  const trainer = new Trainer({
    model, train: [batch, batch, batch, batch, batch, batch, batch, batch], optimizer: new AdamW(model.parameters(), { lr: 1e-2 }),
    computeLoss: async (m, inputs) => {
      const { lastHiddenState } = await m.forward(inputs)
      const pooled = meanPooling(lastHiddenState!, inputs.attentionMask as number[][])
      return infoNCELoss(pooled.narrow(0, 0, 6), pooled.narrow(0, 6, 6), { temperature: 0.5 })
    },
  })
  const losses: number[] = []
  for await (const { loss } of trainer.run({ epochs: 2 })) losses.push(loss)
  t.true(losses.at(-1)! < 0.9 * losses[0], losses.join())
})
