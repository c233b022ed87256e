import { readdirSync } from 'node:fs'
import test from 'ava'
import { AdamW, LoraConfig, type Model, type PlannedRun, type RunOptions, Swift, SwiftModel, Trainer, type TrainerOptions, type TrainingStep } from '../index.js'
import { base, failsWith, IDS, logits, lora, temp } from './support.js'

const batches = Array.from({ length: 4 }, (_, i) => {
  const inputIds = IDS.map(r => r.map(x => (x + 7 * i) % 160))
  return { inputIds, labels: inputIds }
})
/** Without a length. */
const stream = { * [Symbol.iterator]() { yield* batches } }
const prepared = async () => Swift.prepareModel(await base(), { a: lora() }, { seed: 3 })
const trainerOf = (model: Model, more: Partial<TrainerOptions> = {}) => new Trainer({ model, train: batches, optimizer: new AdamW(model.parameters(), { lr: 0.01 }), ...more })

async function all(steps: AsyncIterable<TrainingStep>): Promise<TrainingStep[]> {
  const out: TrainingStep[] = []
  for await (const step of steps) out.push(step)
  return out
}

test('awaiting a run trains to the end', async t => {
  const [looped, awaited] = [await prepared(), await prepared()]
  const steps = await all(trainerOf(looped).run({ epochs: 2 }))
  const result = await trainerOf(awaited).run({ epochs: 2 })
  t.deepEqual(result, { steps: 8, epochs: 2, reason: 'epochs', loss: steps.at(-1)!.loss })
  t.deepEqual(await logits(awaited.eval()), await logits(looped.eval()))
  // What is left of a run, and one that was left.
  const model = await prepared()
  const run = trainerOf(model).run()
  t.is(((await run.next()).value as TrainingStep).step, 1)
  t.is((await run).steps, 4)
  t.is(await run, await run)
  const left = trainerOf(model).run()
  for await (const _ of left) break
  await failsWith(t, 'ERR_INVALID_STATE', async () => left)
  await failsWith(t, 'ERR_INVALID_ARGUMENT', async () => trainerOf(model, { train: [{ inputIds: IDS }] }).run())
  // One that nobody waits for has not begun.
  const before = await logits(model.eval())
  trainerOf(model).run()
  t.deepEqual(await logits(model), before)
})

test('checkpoints have a name of one\'s own, may come with the epochs, and a run says how long it will be', async t => {
  const folder = temp()
  const begun: PlannedRun[] = []
  const options = { checkpointDirectory: folder, checkpointPrefix: 'checkpoint', checkpointEvery: 'epoch', saveTotalLimit: 9, onBegin: (run: PlannedRun) => void begun.push(run) } as const
  await trainerOf(await prepared(), options).run({ epochs: 2 })
  t.deepEqual(readdirSync(folder).sort(), ['checkpoint-4', 'checkpoint-8'])
  const again = await trainerOf(await prepared(), { ...options, resume: true }).run({ epochs: 3 })
  t.is(again.steps, 12)
  await trainerOf(await prepared(), { train: stream, onBegin: run => void begun.push(run) }).run()
  t.deepEqual(begun, [{ step: 0, totalSteps: 8 }, { step: 8, totalSteps: 12 }, { step: 0 }])
  t.regex((await failsWith(t, 'ERR_INVALID_STATE', async () => trainerOf(await prepared(), options).run())).message, /the newest is checkpoint-12/)
  // Folders of another name are another run's.
  t.is((await trainerOf(await prepared(), { checkpointDirectory: folder, resume: true }).run({ maxSteps: 1 })).steps, 1)
  for (const checkpointPrefix of ['a/b', '', '..\\x']) await failsWith(t, 'ERR_INVALID_CONFIG', async () => trainerOf(await prepared(), { ...options, checkpointPrefix }))
})

test('a model has one run at a time, and it is said what is wrong', async t => {
  const model = await prepared()
  const first = trainerOf(model).run()
  await first.next()
  for (const other of [model, model.baseModel]) {
    t.regex((await failsWith(t, 'ERR_INVALID_STATE', async () => trainerOf(other).run())).message, /being trained by another run/)
  }
  t.is((await first).steps, 4)
  t.is((await trainerOf(model).run()).steps, 4)
  for await (const _ of trainerOf(model).run()) break
  await failsWith(t, 'ERR_INVALID_ARGUMENT', async () => trainerOf(model, { train: [{ inputIds: IDS }] }).run())
  t.is((await trainerOf(model).run()).steps, 4, 'a run that was left or has failed holds nothing')
})

test('switching adapters between steps is refused, and others may be called meanwhile', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora(), b: lora() }, { seed: 3 })
  model.setActiveAdapters('a')
  const optimizer = () => new AdamW(model.parameters().filter(p => p.name.includes('.a.')), { lr: 0.01 })
  const trainer = new Trainer({ model, train: batches, optimizer: optimizer() })
  const error = await failsWith(t, 'ERR_INVALID_STATE', async () => { for await (const _ of trainer.run()) model.setActiveAdapters('b') })
  t.regex(error.message, /changed during training, from a to b/)
  model.setActiveAdapters('a')
  let seen = 0
  for await (const _ of trainer.run()) {
    await model.withActiveAdapters('b', () => model.forward({ inputIds: IDS }))
    model.setActiveAdapters('b')
    model.setActiveAdapters('a')
    seen++
  }
  t.is(seen, 4)
  // A run inside of withActiveAdapters trains those.
  const value = (name: string) => Array.from(model.parameter(model.namedParameters().find(p => p.name.includes(`lora_B.${name}.`))!.name).dataSync(), Number)
  const before = [value('a'), value('b')]
  const onB = new Trainer({ model, train: batches, optimizer: new AdamW(model.parameters().filter(p => p.name.includes('.b.')), { lr: 0.01 }) })
  await model.withActiveAdapters('b', async () => onB.run())
  t.deepEqual(value('a'), before[0])
  t.notDeepEqual(value('b'), before[1])
  const peft = await Swift.prepareModel(await base(), new LoraConfig({ r: 2, targetModules: ['q_proj'] }))
  await Swift.prepareModel(peft, new LoraConfig({ r: 2, targetModules: ['q_proj'] }), { adapterName: 'other' })
  peft.setAdapter('default')
  await failsWith(t, 'ERR_INVALID_STATE', async () => { for await (const _ of trainerOf(peft).run()) peft.setAdapter('other') })
})

test('training merged adapters says that they are merged', async t => {
  const model = await prepared()
  const trainer = trainerOf(model)
  await Swift.merge(model)
  t.regex((await failsWith(t, 'ERR_INVALID_STATE', async () => trainer.run())).message, /adapters are merged.*unmerge/)
})

test('options that cannot be are refused by name', async t => {
  const model = await prepared()
  const good = { model, train: batches, optimizer: new AdamW(model.parameters()) }
  const refused = async (options: object, message: RegExp) => t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => new Trainer({ ...good, ...options } as TrainerOptions))).message, message)
  await refused({ maxGradNorm: -1 }, /^Trainer: maxGradNorm: expected a number above 0/)
  await refused({ maxGradNorm: 0 }, /maxGradNorm/)
  await refused({ evaluateEvery: 3 }, /^Trainer: evaluate: needed for evaluateEvery/)
  await refused({ evaluate_every: 3 }, /no option evaluate_every; did you mean evaluateEvery/)
  await refused({ gradientAccumulationSteps: 3 }, /did you mean gradientAccumulation\?/)
  await refused({ model: undefined }, /^Trainer: model: missing/)
  await refused({ model: {} }, /model: expected a Model, found an object/)
  await refused({ optimizer: {} }, /optimizer: expected an Optimizer/)
  await refused({ train: 3 }, /train: expected batches/)
  await refused({ seed: 1.5 }, /seed: expected an integer from 0 on/)
  await refused({ saveTotalLimit: 0, checkpointDirectory: 'x' }, /saveTotalLimit/)
  await refused({ checkpointEvery: 2 }, /checkpointDirectory: needed for checkpointEvery/)
  await refused({ loadBest: true, checkpointDirectory: 'x' }, /evaluate: needed for loadBest/)
  await refused({ lisa: { activatedLayers: 2 } }, /stepInterval: missing/)
  await refused({ schedule: { name: 'step' } }, /schedule.name: expected constant or/)
  await refused({ schedule: { name: 'linear', power: 2 } }, /schedule.power: linear does not have it/)
  await refused({ schedule: { name: 'linear', warmupSteps: 1, warmupRatio: 0.1 } }, /not both/)
  await refused({ schedule: { totalSteps: 4 } }, /schedule.name: missing/)
  await refused({ epochs: 3 }, /epochs; it is an option of run/)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => new Trainer(undefined as never))
  const run = async (options: object, message: RegExp) => t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => new Trainer(good).run(options as RunOptions))).message, message)
  await run({ epoch: 5 }, /no option epoch; did you mean epochs/)
  await run({ epochs: 1.5 }, /epochs: expected an integer/)
  await run({ epochs: NaN }, /epochs/)
  await run({ epochs: 0 }, /epochs/)
  await run({ signal: {} }, /signal: expected an AbortSignal/)
})

test('a schedule knows the steps of its run, or says that it cannot', async t => {
  const rates = async (schedule: TrainerOptions['schedule'], run: RunOptions = {}, more: Partial<TrainerOptions> = {}) =>
    (await all(trainerOf(await prepared(), { schedule, ...more }).run(run))).map(s => Math.round(s.learningRate * 1e6))
  t.deepEqual(await rates({ name: 'linear' }), [10000, 7500, 5000, 2500])
  t.deepEqual(await rates({ name: 'linear' }, { epochs: 2 }, { gradientAccumulation: 3 }), [10000, 7500, 5000, 2500])
  t.deepEqual(await rates({ name: 'linear' }, { maxSteps: 2 }, { train: stream }), [10000, 5000])
  t.deepEqual(await rates({ name: 'linear', totalSteps: 8 }), [10000, 8750, 7500, 6250])
  t.deepEqual(await rates({ name: 'constant', warmupRatio: 0.5 }), [0, 5000, 10000, 10000])
  t.deepEqual(await rates({ name: 'inverse_sqrt', warmupSteps: 1 }, {}, { train: stream }), [0, 10000, 7071, 5774])
  t.deepEqual(await rates({ name: 'cosine_with_min_lr', minLr: 0.001 }), [10000, 8682, 5500, 2318])
  t.deepEqual(await rates({ name: 'polynomial', power: 2, lrEnd: 0.002 }), [10000, 6500, 4000, 2500])
  t.deepEqual(await rates({ name: 'warmup_stable_decay', numDecaySteps: 2, decayType: 'linear' }), [10000, 10000, 10000, 5000])
  const model = await prepared()
  const error = await failsWith(t, 'ERR_INVALID_CONFIG', async () => trainerOf(model, { train: stream, schedule: { name: 'cosine' } }).run())
  t.regex(error.message, /^schedule.totalSteps: cosine needs the number of steps.*maxSteps/)
  await failsWith(t, 'ERR_INVALID_CONFIG', async () => trainerOf(model, { train: stream, schedule: { name: 'constant', warmupRatio: 0.1 } }).run())
  const short = await failsWith(t, 'ERR_INVALID_CONFIG', async () => trainerOf(model, { schedule: { name: 'linear', totalSteps: 2 } }).run())
  t.regex(short.message, /the run has 4 steps, and 2 are fewer/)
  t.is((await trainerOf(model, { schedule: { name: 'linear', totalSteps: 2 } }).run({ maxSteps: 2 })).reason, 'maxSteps')
  t.is((await trainerOf(model, { train: stream, schedule: { name: 'linear', totalSteps: 2 } }).run()).reason, 'totalSteps')
})

test('maxSteps ends a run in the middle of an epoch, or goes over as many as it takes', async t => {
  const model = await prepared()
  t.deepEqual((await all(trainerOf(model).run({ maxSteps: 3 }))).map(s => [s.step, s.epoch]), [[1, 0], [2, 0], [3, 0]])
  t.deepEqual((await all(trainerOf(model).run({ maxSteps: 6 }))).map(s => s.epoch), [0, 0, 0, 0, 1, 1])
  const { loss, ...end } = await trainerOf(model).run({ maxSteps: 8 })
  t.deepEqual(end, { steps: 8, epochs: 2, reason: 'maxSteps' })
  t.is(typeof loss, 'number')
  t.is((await trainerOf(model).run({ maxSteps: 6, epochs: 1 })).steps, 4)
})

test('callbacks see what happens and may end the run', async t => {
  const model = await prepared()
  const seen: string[] = []
  const more: Partial<TrainerOptions> = {
    evaluate: batches.slice(0, 1), evaluateEvery: 2, metrics: async m => ({ half: m === model && !m.training ? 0.5 : NaN }),
    onStep: ({ step }) => { seen.push(`step ${step}`) },
    onEvaluate: ({ half }, { step }) => { seen.push(`evaluation ${step} ${half}`) },
    onEnd: ({ reason }) => { seen.push(reason) },
  }
  await trainerOf(model, more).run()
  t.deepEqual(seen, ['step 1', 'evaluation 2 0.5', 'step 2', 'step 3', 'evaluation 4 0.5', 'step 4', 'epochs'])
  const stopped = await trainerOf(model, { onStep: async ({ step }) => (step === 3 ? 'stop' : undefined) }).run({ epochs: 9 })
  t.deepEqual([stopped.steps, stopped.epochs, stopped.reason], [3, 1, 'callback'])
  t.is((await trainerOf(model, { ...more, onStep: undefined, onEvaluate: () => 'stop' }).run({ epochs: 9 })).steps, 2)
  await t.throwsAsync(async () => trainerOf(model, { onStep: () => { throw new Error('mine') } }).run(), { message: 'mine' })
})

test('a run ends when evaluations get no better', async t => {
  const scores = [3, 2, 2.5, 1.9, 1.95, 1.99, 1]
  const of = (more: Partial<TrainerOptions>) => {
    const left = [...scores]
    return async () => trainerOf(await prepared(), { evaluate: batches.slice(0, 1), evaluateEvery: 1, metrics: () => ({ score_loss: left.shift()! }), bestMetric: 'score_loss', ...more }).run({ epochs: 2 })
  }
  const patient = await of({ earlyStopping: { patience: 2 } })()
  t.deepEqual([patient.steps, patient.reason, patient.best], [6, 'earlyStopping', { step: 4, metric: 'score_loss', value: 1.9 }])
  t.is((await of({ earlyStopping: { patience: 2, threshold: 0.3 } })()).steps, 4)
  t.deepEqual((await of({ earlyStopping: { patience: 3 }, greaterIsBetter: true })()).best, { step: 1, metric: 'score_loss', value: 3 })
  await failsWith(t, 'ERR_INVALID_CONFIG', of({ bestMetric: 'accuracy' }))
  t.true((await prepared()) instanceof SwiftModel)
})
