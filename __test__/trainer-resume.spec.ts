import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AdamW, type BatchSource, type Model, type ModelInputs, readSafetensors, Swift, Trainer, type TrainerOptions, type TrainingStep, writeSafetensors } from '../index.js'
import { base, failsWith, IDS, logits, lora, rng, temp } from './support.js'

const rows = Array.from({ length: 6 }, (_, i) => {
  const inputIds = IDS.map(r => r.map(x => (x + 7 * i) % 160))
  return { inputIds, labels: inputIds }
})
const evaluation = [{ inputIds: [[9, 8, 7, 6]], labels: [[9, 8, 7, 6]] }]

/** In an order that epoch and seed make. */
function shuffled(epoch: number, seed: number): ModelInputs[] {
  const next = rng(1000 * seed + epoch)
  return rows.map(row => [next(), row] as const).sort(([a], [b]) => a - b).map(([, row]) => row)
}

/** Trains with dropout; resolves to the steps made, cut off after `cut`. */
async function trained(train: BatchSource, more: Partial<TrainerOptions> = {}, cut?: number, model?: Model, epochs = 3) {
  model ??= await Swift.prepareModel(await base(), { a: lora({ loraDropout: 0.3 }) }, { seed: 1 })
  const trainer = new Trainer({ model, train, optimizer: new AdamW(model.parameters(), { lr: 0.01 }), seed: 4, ...more })
  const controller = new AbortController()
  const steps: TrainingStep[] = []
  try {
    for await (const step of trainer.run({ epochs, signal: controller.signal })) {
      steps.push(step)
      if (step.step === cut) controller.abort(new Error('cut'))
    }
  } catch (error) {
    if ((error as Error).message !== 'cut') throw error
  }
  return { model, steps }
}
const losses = ({ steps }: { steps: TrainingStep[] }) => steps.map(s => s.loss)

test('a run over shuffled epochs goes on exactly, wherever it was cut off, with evaluations between', async t => {
  const options = { evaluate: evaluation, evaluateEvery: 2 }
  for (const source of [shuffled, { forEpoch: (epoch: number, seed: number) => shuffled(epoch, seed), length: rows.length }]) {
    const whole = await trained(source, options)
    t.is(whole.steps.length, 18)
    for (const cut of [2, 6, 8, 12, 17]) {
      const checkpointDirectory = temp()
      await trained(source, { ...options, checkpointDirectory }, cut)
      const rest = await trained(source, { ...options, checkpointDirectory, resume: true })
      t.deepEqual(losses(rest), losses(whole).slice(cut), `cut after ${cut}`)
      t.deepEqual(await logits(rest.model.eval()), await logits(whole.model.eval()))
    }
  }
})

test('what the loop\'s body does to the model between two steps changes no later step', async t => {
  const whole = await trained(shuffled)
  const model = await Swift.prepareModel(await base(), { a: lora({ loraDropout: 0.3 }) }, { seed: 1 })
  const trainer = new Trainer({ model, train: shuffled, optimizer: new AdamW(model.parameters(), { lr: 0.01 }), seed: 4 })
  const found: number[] = []
  t.false(model.training)
  for await (const step of trainer.run({ epochs: 3 })) {
    found.push(step.loss)
    t.true(model.training)
    model.eval()
    for await (const _ of model.generate({ inputIds: [[3, 4]] }, { maxNewTokens: 2 })) { /* sampled */ }
    model.train()
    await model.forward({ inputIds: [[3, 4]] })
    model.eval()
  }
  t.deepEqual(found, losses(whole))
  t.false(model.training, 'the mode is as before')
})

test('data that cannot be gone on with is refused', async t => {
  const next = rng(5)
  const byChance = { * [Symbol.iterator]() { yield* [...rows].sort(() => next() - 0.5) } }
  let epoch = 0
  const counting = () => ({ * [Symbol.iterator]() { yield* shuffled(epoch++, 4) } })
  for (const [source, cut] of [[byChance, 3], [counting(), 8]] as [BatchSource, number][]) {
    const checkpointDirectory = temp()
    await trained(source, { checkpointDirectory }, cut)
    epoch = 0
    const error = await failsWith(t, 'ERR_INVALID_STATE', () => trained(source, { checkpointDirectory, resume: true }))
    t.regex(error.message, /^train: .*\(epoch, seed\) => batches/)
  }
  // At the end of an epoch nothing of the next one can be compared.
  const checkpointDirectory = temp()
  epoch = 0
  await trained(counting(), { checkpointDirectory }, 12)
  epoch = 0
  await failsWith(t, 'ERR_INVALID_STATE', () => trained(counting(), { checkpointDirectory, resume: true }))
  // Fewer batches, and another seed.
  const other = temp()
  await trained(rows, { checkpointDirectory: other }, 5)
  await failsWith(t, 'ERR_INVALID_STATE', () => trained(rows.slice(0, 3), { checkpointDirectory: other, resume: true }))
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => trained(rows, { checkpointDirectory: other, resume: true, seed: 5 }))).message, /^seed: 5, .* had 4/)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => trained(rows.values() as never))
})

test('a folder with another run\'s checkpoints is refused, and stays as it is', async t => {
  const checkpointDirectory = temp()
  await trained(rows, { checkpointDirectory }, 8)
  const before = readdirSync(checkpointDirectory)
  const error = await failsWith(t, 'ERR_INVALID_STATE', () => trained(rows, { checkpointDirectory, checkpointEvery: 2 }))
  t.regex(error.message, /step-8.*resume: true/)
  t.deepEqual(readdirSync(checkpointDirectory), before)
  // Two that begin at once.
  const both = temp()
  mkdirSync(join(both, 'step-3'))
  const first = await trained(rows, { checkpointDirectory: both, checkpointEvery: 9, onStep: ({ step }) => { if (step === 4) writeFileSync(join(both, 'step-3/trainer.json'), '{}') } }).catch((e: Error) => e)
  t.regex((first as Error).message, /step-3: another run writes its checkpoints here/)
})

test('a damaged checkpoint is passed over for an older one, and no run begins anew in silence', async t => {
  const once = (more: Partial<TrainerOptions>, cut?: number) => trained(rows, more, cut, undefined, 1)
  const whole = await once({})
  const damage: Record<string, (dir: string) => unknown> = {
    'an empty position': dir => writeFileSync(join(dir, 'trainer.json'), ''),
    'a position of nothing': dir => writeFileSync(join(dir, 'trainer.json'), 'null'),
    'a position of another step': dir => writeFileSync(join(dir, 'trainer.json'), JSON.stringify({ step: 9, epoch: 0, batch: 2, drawn: 2 })),
    'weights that are cut off': dir => truncateSync(join(dir, 'trainable.safetensors'), 200),
    'weights of which some lack': async dir => {
      const file = join(dir, 'trainable.safetensors')
      await writeSafetensors(file, Object.fromEntries(Object.entries(await readSafetensors(file)).slice(3)))
    },
    'an optimizer\'s state of which some lacks': async dir => {
      const file = join(dir, 'optimizer.safetensors')
      await writeSafetensors(file, Object.fromEntries(Object.entries(await readSafetensors(file)).slice(3)))
    },
    'an optimizer\'s state that is cut off': dir => truncateSync(join(dir, 'optimizer.safetensors'), 200),
  }
  for (const [name, harm] of Object.entries(damage)) {
    const checkpointDirectory = temp()
    const options = { checkpointDirectory, checkpointEvery: 2, saveTotalLimit: 2 }
    await once(options, 4)
    t.deepEqual(readdirSync(checkpointDirectory).sort(), ['step-2', 'step-4'])
    await harm(join(checkpointDirectory, 'step-4'))
    const rest = await once({ ...options, resume: true })
    t.deepEqual(losses(rest), losses(whole).slice(2), name)
    t.deepEqual(readdirSync(checkpointDirectory).sort(), ['step-4', 'step-6'], name)
    for (const step of [4, 6]) await harm(join(checkpointDirectory, `step-${step}`))
    const error = await t.throwsAsync(() => once({ ...options, resume: true }))
    t.regex((error as Error & { code: string }).code, /^ERR_CHECKPOINT_(CORRUPT|MISMATCH)$/, name)
  }
})

test('so many checkpoints stay as are asked for', async t => {
  const checkpointDirectory = temp()
  const seen: number[] = []
  await trained(rows, { checkpointDirectory, checkpointEvery: 4, saveTotalLimit: 3, onCheckpoint: ({ step, directory }) => { seen.push(step); t.is(directory, join(checkpointDirectory, `step-${step}`)) } })
  t.deepEqual(seen, [4, 8, 12, 16, 18], 'the end of the run has one, too')
  t.deepEqual(readdirSync(checkpointDirectory).sort(), ['step-12', 'step-16', 'step-18'])
  const { step, epoch, batch } = JSON.parse(readFileSync(join(checkpointDirectory, 'step-16/trainer.json'), 'utf8'))
  t.deepEqual([step, epoch, batch], [16, 2, 4])
})

test('a log has each step once, also after a run that was killed', async t => {
  const [checkpointDirectory, logFile] = [temp(), join(temp(), 'log.jsonl')]
  writeFileSync(logFile, 'of somebody else\n')
  const model = await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
  // As killed: no checkpoint where it ends.
  for await (const { step } of new Trainer({ model, train: rows, optimizer: new AdamW(model.parameters(), { lr: 0.01 }), seed: 4, checkpointDirectory, checkpointEvery: 4, logFile }).run({ epochs: 3 })) if (step === 7) break
  await trained(rows, { checkpointDirectory, resume: true, logFile }, undefined, await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 }))
  const [other, ...lines] = readFileSync(logFile, 'utf8').trim().split('\n')
  t.is(other, 'of somebody else')
  t.deepEqual(lines.map(line => JSON.parse(line).step), Array.from({ length: 18 }, (_, i) => i + 1))
})

test('the best checkpoint is kept, and loaded at the end, also by a run that was cut off', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
  const seen: Record<number, number[]> = {}
  const scores = [1, 5, 3, 9, 2, 4, 8, 3, 1]
  let asked = 0
  const options = (checkpointDirectory: string) => ({
    evaluate: evaluation, evaluateEvery: 2, metrics: () => ({ score: scores[asked++] }), bestMetric: 'score', loadBest: true, checkpointDirectory, checkpointEvery: 6,
    onStep: async ({ step }: TrainingStep) => { seen[step] = await logits(model) },
  })
  const checkpointDirectory = temp()
  const { steps } = await trained(rows, options(checkpointDirectory), undefined, model)
  t.deepEqual(steps.filter(s => s.evaluation).map(s => s.evaluation!.score), scores)
  t.deepEqual(readdirSync(checkpointDirectory).sort(), ['step-18', 'step-8'])
  t.deepEqual(await logits(model.eval()), seen[8])
  const cut = temp()
  asked = 0
  const again = await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
  await trained(rows, { ...options(cut), onStep: undefined }, 11, again)
  asked = 5
  const resumed = await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
  await trained(rows, { ...options(cut), onStep: undefined, resume: true }, undefined, resumed)
  t.deepEqual(await logits(resumed.eval()), seen[8])
})
