/** The demo model learns from preferences and from rewards. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  AdamW, AutoModel, AutoTokenizer, DPOTrainer, GRPOTrainer, KTOTrainer, LoRAConfig, ORPOTrainer, CPOTrainer, RewardTrainer, SFTTrainer, SimPOTrainer, Swift, type PairRow, type TrainingStep,
} from '../index.js'
import { demo, fixtures, lora, readJson, temp } from './support.js'

const folder = join(demo, 'base-model')
const tuned = async (seed = 1) => Swift.prepareModel(await AutoModel.fromPretrained(folder, { dtype: 'f32' }), { a: new LoRAConfig({ r: 8, targetModules: 'all-linear' }) }, { seed })
const tokenizer = AutoTokenizer.fromPretrained(folder)

interface Request { prompt: string; completion: string }
const requests: Request[] = readFileSync(join(demo, 'dataset/train.jsonl'), 'utf8').trim().split('\n').map(line => JSON.parse(line))

/** Requests, each answered rightly and with the answer to another. */
const pairs: PairRow[] = requests.slice(0, 64).map(({ prompt, completion }, i) => ({
  prompt: [{ role: 'user', content: prompt }],
  chosen: [{ role: 'assistant', content: completion }],
  rejected: [{ role: 'assistant', content: requests[(i + 37) % requests.length].completion }],
}))
const [train, held] = [pairs.slice(0, 48), pairs.slice(48)]

async function steps(run: AsyncIterable<TrainingStep>): Promise<TrainingStep[]> {
  const all: TrainingStep[] = []
  for await (const step of run) all.push(step)
  return all
}

test('DPO: unseen pairs are told apart after training, and not before', async t => {
  const model = await tuned()
  const options = { model, tokenizer: await tokenizer, train, evaluate: held, batchSize: 6, optimizer: new AdamW(model.parameters(), { lr: 4e-3 }) }
  const trainer = new DPOTrainer(options)
  const before = await trainer.evaluate()
  t.true(Math.abs(before - Math.log(2)) < 1e-6, `the adapter begins as its own reference: ${before}`)
  const all = await steps(trainer.run({ epochs: 3 }))
  const { evaluation } = all.at(-1)!
  t.true(evaluation!.loss < 0.5 && evaluation!.rewardsAccuracy > 0.75, JSON.stringify(evaluation))
  t.true(all.at(-1)!.metrics!.rewardsMargin > all[0].metrics!.rewardsMargin)
})

test('KTO: good answers get better and bad ones worse', async t => {
  const model = await tuned()
  const rows = train.flatMap(({ prompt, chosen, rejected }) => [[chosen, true], [rejected, false]].map(([answer, label]) => ({ messages: [...(prompt as object[]), ...(answer as object[])], label })))
  const trainer = new KTOTrainer({ model, tokenizer: await tokenizer, train: rows as never, batchSize: 8, optimizer: new AdamW(model.parameters(), { lr: 4e-3 }) })
  const all = await steps(trainer.run({ epochs: 2 }))
  const { metrics, loss } = all.at(-1)!
  t.true(loss < 0.42 && metrics!.rewardsChosen - metrics!.rewardsRejected > 0.5, JSON.stringify(all.at(-1)))
  t.true(Math.abs(all[0].loss - 0.5) < 0.05, 'an adapter that does nothing yet is at its reference')
})

for (const [name, Made] of [['ORPO', ORPOTrainer], ['SimPO', SimPOTrainer], ['CPO', CPOTrainer]] as const) {
  test(`${name}: better answers get better`, async t => {
    const model = await tuned()
    const trainer = new Made({ model, tokenizer: await tokenizer, train: train.slice(0, 24), evaluate: held.slice(0, 8), batchSize: 6, optimizer: new AdamW(model.parameters(), { lr: 3e-3 }) })
    const all = await steps(trainer.run({ epochs: 2 }))
    const { loss, evaluation } = all.at(-1)!
    t.true(loss < 0.9 * all[0].loss && evaluation!.rewardsMargin > 0, JSON.stringify([all[0].loss, loss, evaluation]))
  })
}

test('GRPO: what a function rewards gets more frequent', async t => {
  const model = await tuned()
  const vowels = ({ completion }: { completion: string }) => [...completion].filter(c => 'aeiou'.includes(c)).length / Math.max(1, completion.length)
  const trainer = new GRPOTrainer({
    model, tokenizer: await tokenizer, train: requests.slice(0, 40).map(({ prompt }) => ({ prompt: [{ role: 'user', content: prompt }] })), rewards: vowels,
    batchSize: 3, numGenerations: 8, maxCompletionLength: 8, optimizer: new AdamW(model.parameters(), { lr: 1e-2 }), maxGradNorm: 1,
  })
  const all = await steps(trainer.run({ maxSteps: 16 }))
  const mean = (some: TrainingStep[]) => some.reduce((sum, step) => sum + step.metrics!.reward, 0) / some.length
  const [first, last] = [mean(all.slice(0, 5)), mean(all.slice(-5))]
  t.true(last > first + 0.08, `${first} → ${last}`)
  t.is(all[0].metrics!['rewards/vowels'], all[0].metrics!.reward)
})

test('the same seed draws the same answers, and another draws others', async t => {
  const rewards = async (seed: number) => {
    const model = await tuned()
    const trainer = new GRPOTrainer({
      model, tokenizer: await tokenizer, train: [{ prompt: 'Turn' }, { prompt: 'Play' }], rewards: [({ completionIds }) => completionIds[0] % 7], rewardWeights: [0.5], numGenerations: 4,
      maxCompletionLength: 4, optimizer: new AdamW(model.parameters(), { lr: 1e-4 }), seed, shuffle: false, beta: 0.1,
    })
    return (await steps(trainer.run())).map(step => [step.loss, step.metrics!.reward, step.metrics!.kl])
  }
  t.deepEqual(await rewards(1), await rewards(1))
  t.notDeepEqual(await rewards(1), await rewards(2))
})

test('supervised fine-tuning from a file: the assistant answers are trained, and a run that is cut off goes on as if it had not been', async t => {
  const file = join(demo, 'dataset/train.jsonl')
  const options = async (directory: string, more: object = {}) => {
    const model = await tuned(7)
    const run = new SFTTrainer({
      model, tokenizer: await tokenizer, train: file, batchSize: 8, optimizer: new AdamW(model.parameters(), { lr: 3e-3 }), seed: 5, schedule: { name: 'cosine', warmupRatio: 0.1 },
      checkpointDirectory: directory, checkpointEvery: 4, ...more,
    })
    return { model, run }
  }
  const whole = await options(temp())
  const losses = (await steps(whole.run.run())).map(step => step.loss)
  t.true(losses.at(-1)! < losses[0] / 2, `${losses[0]} → ${losses.at(-1)}`)
  const directory = temp()
  const cut = await options(directory)
  const seen: number[] = []
  for await (const step of cut.run.run()) {
    seen.push(step.loss)
    if (step.step === 8) break
  }
  const again = await options(directory, { resume: true })
  for await (const step of again.run.run()) seen.push(step.loss)
  t.deepEqual(seen, losses)
  const [a, b] = [whole.model.stateDict(), again.model.stateDict()]
  for (const name of Object.keys(a)) t.deepEqual(a[name].dataSync(), b[name].dataSync(), name)
})

test('a model of rewards scores better answers higher', async t => {
  const ids = readJson(join(fixtures, 'preference/pairs.json')).pairs.map((p: Record<string, number[]>) => ({ promptIds: p.prompt, chosenIds: p.chosen, rejectedIds: p.rejected, margin: 0.5 }))
  const config = { ...readJson(join(fixtures, 'models/llama/config.json')), architectures: ['LlamaForSequenceClassification'], num_labels: 1, id2label: { 0: 'reward' }, label2id: { reward: 0 }, pad_token_id: 0 }
  const model = await Swift.prepareModel(await AutoModel.fromConfig(config), { a: lora({ modulesToSave: ['score'] }) })
  const trainer = new RewardTrainer({ model, train: ids, batchSize: 4, shuffle: false, optimizer: new AdamW(model.parameters(), { lr: 1e-2 }), centerRewardsCoefficient: 0.01 })
  const all = await steps(trainer.run({ epochs: 20 }))
  t.true(all.at(-1)!.metrics!.rewardsAccuracy === 1 && all.at(-1)!.loss < all[0].loss / 2, JSON.stringify(all.at(-1)))
})

test('what a trainer over rows cannot do is said before it begins', async t => {
  const model = await tuned()
  const optimizer = new AdamW(model.parameters())
  const all = { model, optimizer, train, tokenizer: await tokenizer }
  t.throws(() => new DPOTrainer({ ...all, betta: 1 } as never), { message: 'DPOTrainer: there is no option betta; did you mean beta?' })
  t.throws(() => new ORPOTrainer({ ...all, reference: 'disabled' } as never), { message: /ORPOTrainer: there is no option reference/ })
  t.throws(() => new DPOTrainer({ ...all, train: undefined } as never), { message: 'DPOTrainer: train: missing' })
  t.throws(() => new KTOTrainer({ ...all, train: [], batchSize: 1 }), { message: /KTOTrainer: batchSize: a batch needs two rows/ })
  t.throws(() => new GRPOTrainer({ ...all, train: [], rewards: [() => 1], rewardWeights: [1, 2] }), { message: 'GRPOTrainer: rewardWeights: expected 1, one for each of rewards, found 2' })
  const { tokenizer: _, ...bare } = all
  await t.throwsAsync(async () => new DPOTrainer(bare).run(), { message: /DPOTrainer: tokenizer: missing; train holds rows that are no token ids/ })
})
