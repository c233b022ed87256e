import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  AdaLoraConfig, AdamW, AutoModel, CPTConfig, IA3Config, LoraConfig, type Model, type ModelInputs, nn, PrefixTuningConfig, PromptTuningConfig, SGD, Swift, Tensor, Trainer,
  type TrainerOptions, type TrainingStep,
} from '../index.js'
import { base, copyOf, failsWith, fixtures, gap, IDS, logits, lora, readJson, temp } from './support.js'

async function all(steps: AsyncIterable<TrainingStep>): Promise<TrainingStep[]> {
  const out: TrainingStep[] = []
  for await (const step of steps) out.push(step)
  return out
}

/** Rows of unequal lengths, padded, with labels for what `kept` says. */
function rows(lengths: number[], labelled: number[], width = Math.max(...lengths)) {
  const pad = <T>(row: T[], value: T) => [...row, ...Array<T>(width - row.length).fill(value)]
  const ids = lengths.map((n, i) => Array.from({ length: n }, (_, j) => (7 + 13 * i + 5 * j * j) % 160))
  return {
    inputIds: ids.map(row => pad(row, 0)),
    attentionMask: ids.map(row => pad(row.map(() => 1), 0)),
    labels: ids.map((row, i) => pad(row.map((id, j) => (j >= row.length - labelled[i] ? id : -100)), -100)),
  }
}

const whole = rows([12, 5, 9, 12], [2, 4, 1, 11])
const part = (from: number, to: number) => Object.fromEntries(Object.entries(whole).map(([name, value]) => [name, value.slice(from, to)])) as typeof whole

/** Loss, gradient norm and evaluation of one step over these batches. */
async function measured(make: () => Promise<Model>, train: ModelInputs[], more: Partial<TrainerOptions> = {}) {
  const model = await make()
  const trainer = new Trainer({ model, train, evaluate: train, gradientAccumulation: train.length, optimizer: new SGD(model.parameters(), { lr: 0 }), ...more })
  const [step] = await all(trainer.run())
  return [step.loss, step.gradNorm, step.evaluation!.loss]
}

const peft = (config: ConstructorParameters<typeof LoraConfig>[0]) => async () => Swift.prepareModel(await base(), new LoraConfig({ r: 4, targetModules: ['q_proj', 'v_proj'], initLoraWeights: false, ...config }), { seed: 2 })
const cases: Record<string, () => Promise<Model>> = {
  LoRA: peft({}),
  'LoRA with bf16 weights of the base': async () => Swift.prepareModel(await AutoModel.fromPretrained(join(fixtures, 'models/llama'), { dtype: 'bf16' }), { a: lora() }, { seed: 2 }),
  'prompt tuning, whose last virtual token predicts the first label': async () => Swift.prepareModel(await base(), new PromptTuningConfig({ taskType: 'CAUSAL_LM', numVirtualTokens: 3 }), { seed: 2 }),
  'prefix tuning': async () => Swift.prepareModel(await base(), new PrefixTuningConfig({ taskType: 'CAUSAL_LM', numVirtualTokens: 3 }), { seed: 2 }),
  'CPT, whose examples have a loss, too': async () => Swift.prepareModel(await base(), new CPTConfig({
    taskType: 'CAUSAL_LM', cptTokenIds: [5, 6, 7, 8], cptMask: [1, 1, 1, 1], cptTokensTypeMask: [1, 2, 3, 4], optWeightedLossType: 'decay', optLossDecayFactor: 0.9,
  }), { seed: 2 }),
  'AdaLoRA, with its orthogonality once': async () => Swift.prepareModel(await base(), new AdaLoraConfig({ initR: 4, targetR: 2, totalStep: 40, tinit: 5, targetModules: ['q_proj', 'v_proj'], initLoraWeights: false }), { seed: 2 }),
  'KaSA, with its regularisers once': peft({ kasaConfig: {} } as never),
  'IA³': async () => Swift.prepareModel(await base(), new IA3Config({ targetModules: ['k_proj', 'v_proj', 'down_proj'], feedforwardModules: ['down_proj'], initIa3Weights: false } as never), { seed: 2 }),
}
for (const [name, make] of Object.entries(cases)) {
  test(`one batch and its split have the same loss, gradients and evaluation: ${name}`, async t => {
    const together = await measured(make, [whole])
    const split = await measured(make, [part(0, 1), part(1, 3), part(3, 4)])
    const tolerance = name.includes('bf16') ? 3e-2 : 2e-5
    t.true(gap(split, together) < tolerance * Math.max(1, together[1]), `${split} for ${together}`)
  })
}

// transformers 5.24: model(…, num_items_in_batch=18) for each micro-batch, all weights trained.
test('loss and gradient norm of micro-batches are those of transformers', async t => {
  const expected = [5.165872573852539, 10.16268539428711]
  for (const train of [[whole], [part(0, 1), part(1, 3), part(3, 4)]]) {
    const [loss, norm] = await measured(() => base(), train)
    t.true(Math.abs(loss - expected[0]) < 1e-5 && Math.abs(norm - expected[1]) < 1e-4, `${loss}, ${norm}`)
  }
})

test('the share of a batch is that of its labels, by hand', async t => {
  const model = await peft({})()
  const parts = [part(0, 1), part(1, 4)]
  const losses = await Promise.all(parts.map(async p => (await model.forward(p)).loss!.item()))
  const [loss] = await measured(peft({}), parts)
  t.true(Math.abs(loss - (2 * losses[0] + 16 * losses[1]) / 18) < 1e-5)
})

/** Without dropout, which would draw other numbers for other batches. */
async function still(name: string): Promise<Model> {
  const dir = copyOf(join(fixtures, 'models', name))
  const config = readJson(join(dir, 'config.json'))
  for (const field of Object.keys(config).filter(f => /dropout/.test(f) && typeof config[f] === 'number')) config[field] = 0
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config))
  return AutoModel.fromPretrained(dir, { dtype: 'f32' })
}

test('a batch of an encoder-decoder counts its labels, unshifted', async t => {
  const make = async () => Swift.prepareModel(await still('t5'), { a: lora({ targetModules: ['q', 'v'] }) }, { seed: 2 })
  const batch = { inputIds: [[3, 4, 5, 1], [6, 7, 8, 1]], labels: [[9, 8, 7, 1], [5, -100, -100, -100]] }
  const split = batch.inputIds.map((_, i) => ({ inputIds: [batch.inputIds[i]], labels: [batch.labels[i]] }))
  t.true(gap(await measured(make, split), await measured(make, [batch])) < 2e-5)
})

test('rows of a classifier and numbers of a target count', async t => {
  const classifier = async () => Swift.prepareModel(await still('bert-classifier'), new LoraConfig({ r: 2, targetModules: ['query'], initLoraWeights: false }), { seed: 2 })
  const inputIds = [...IDS, [4, 5, 6, 7, 8, 9]]
  const [one, two] = [{ inputIds: inputIds.slice(0, 1), labels: [1] }, { inputIds: inputIds.slice(1), labels: [0, 2] }]
  t.true(gap(await measured(classifier, [one, two]), await measured(classifier, [{ inputIds, labels: [1, 0, 2] }])) < 2e-5)
  const regression = () => AutoModel.fromModules(nn.sequential({ only: nn.linear(3, 2) }), { seed: 4 })
  const input = [[1, 2, 3], [4, 0, 1], [2, 2, 5]]
  const target = (values: number[][]) => Tensor.from(values)
  const values = [[1, 0], [0, 3], [2, 2]]
  const batch = (from: number, to: number) => ({ input: input.slice(from, to), target: target(values.slice(from, to)) })
  t.true(gap(await measured(regression, [batch(0, 1), batch(1, 3)]), await measured(regression, [batch(0, 3)])) < 1e-4)
})

test('a batch without labels that count is nothing among others, and an error alone', async t => {
  const empty = rows([4, 4], [0, 0])
  // The first token of a row is told by nothing.
  const first = { inputIds: [[1, 2, 3]], labels: [[1, -100, -100]] }
  t.deepEqual(await measured(peft({}), [part(0, 2), empty, first]), await measured(peft({}), [part(0, 2)]))
  const model = await peft({})()
  const before = await logits(model)
  const trainer = new Trainer({ model, train: [part(0, 2), empty], optimizer: new AdamW(model.parameters(), { lr: 0.1 }) })
  const error = await failsWith(t, 'ERR_INVALID_ARGUMENT', () => all(trainer.run()))
  t.regex(error.message, /^train: epoch 0, batch 1: no label of the step's batches counts/)
  t.notDeepEqual(await logits(model.eval()), before, 'the step before it was made')
  await failsWith(t, 'ERR_INVALID_CONFIG', () => new Trainer({ model, train: [], evaluate: [empty], optimizer: new AdamW(model.parameters()) }).evaluate())
  await failsWith(t, 'ERR_INVALID_CONFIG', () => new Trainer({ model, train: [], optimizer: new AdamW(model.parameters()) }).evaluate())
})

test('a loss that is no number stops the run at its batch, before weights and checkpoints', async t => {
  const model = await peft({})()
  const dir = temp()
  const optimizer = new AdamW(model.parameters(), { lr: 1e30, weightDecay: 0 })
  const batches = Array.from({ length: 6 }, () => whole)
  const steps: TrainingStep[] = []
  const error = await failsWith(t, 'ERR_INVALID_STATE', async () => {
    for await (const step of new Trainer({ model, train: batches, optimizer, checkpointDirectory: dir, checkpointEvery: 100 }).run()) steps.push(step)
  })
  t.regex(error.message, new RegExp(`^train: epoch 0, batch ${steps.length}: (the loss is NaN|.* gradient is not finite)`))
  t.true(steps.length < 6 && steps.every(s => Number.isFinite(s.loss) && Number.isFinite(s.gradNorm)))
  const broken = await AutoModel.fromModules(nn.sequential({ only: nn.linear(3, 2) }), { seed: 4 })
  const weight = broken.parameters()[0].name
  const before = broken.parameter(weight).dataSync()
  const train = [{ input: [[1, 2, 3]], target: Tensor.from([[NaN, 1]]) }]
  t.regex((await failsWith(t, 'ERR_INVALID_STATE', () => all(new Trainer({ model: broken, train, optimizer: new SGD(broken.parameters(), { lr: 1 }) }).run()))).message, /batch 0: the loss is NaN/)
  t.deepEqual(broken.parameter(weight).dataSync(), before)
})

test('an error says which batch it is about', async t => {
  const model = await peft({})()
  const optimizer = new AdamW(model.parameters())
  const bad = { ...whole, inputIds: whole.inputIds.map(row => row.map(() => 99999)) }
  const error = await failsWith(t, 'ERR_INVALID_ARGUMENT', () => all(new Trainer({ model, train: [whole, whole, bad], optimizer }).run()))
  t.regex(error.message, /^train: epoch 0, batch 2: .*99999/)
  t.regex((await failsWith(t, 'ERR_INVALID_ARGUMENT', () => all(new Trainer({ model, train: [whole], evaluate: [bad], optimizer }).run()))).message, /^evaluate: epoch 0, batch 0: /)
  t.regex((await failsWith(t, 'ERR_INVALID_ARGUMENT', () => all(new Trainer({ model, train: [{ inputIds: IDS, lables: IDS } as never], optimizer }).run()))).message, /^train: epoch 0, batch 0: lables/)
})
