import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AdaLoraConfig, AdamW, OFTConfig, PeftModel, readSafetensors, SGD, Swift, Trainer, type TrainingStep } from '../index.js'
import { base, failsWith, fixtures, gap, IDS, logits, numbers, readJson, temp } from './support.js'

const batches = Array.from({ length: 6 }, (_, i) => {
  const ids = IDS.map(r => r.map(x => (x + 7 * i) % 160))
  return { inputIds: ids, labels: ids }
})
const folder = join(fixtures, 'peft/adalora-schedule')

async function all(steps: AsyncIterable<TrainingStep>): Promise<TrainingStep[]> {
  const out: TrainingStep[] = []
  for await (const step of steps) out.push(step)
  return out
}

const adalora = async (fields: Record<string, unknown> = {}) => Swift.prepareModel(await base(), new AdaLoraConfig({
  initR: 4, targetR: 2, tinit: 2, tfinal: 3, deltaT: 2, totalStep: 12, targetModules: ['q_proj', 'v_proj'], ...fields,
}), { seed: 3 })
/** Triplets that are left. */
const left = (model: PeftModel) => model.namedParameters().filter(p => p.name.includes('.lora_E.'))
  .map(p => numbers(model.parameter(p.name)).filter(x => x !== 0).length)
const sum = (values: number[]) => values.reduce((a, b) => a + b, 0)
const pattern = (model: PeftModel) => (model.peftConfig.get('default') as AdaLoraConfig).rankPattern

test('a loop of one\'s own moves ranks with one call, with PEFT\'s numbers', async t => {
  const { schedule } = readJson(join(folder, 'case.json'))
  const { input_ids, attention_mask, labels } = await readSafetensors(join(folder, 'inputs.safetensors'))
  const expected = await readSafetensors(join(folder, 'expected.safetensors'))
  for (const call of ['updateAndAllocate', 'onStep'] as const) {
    const model = await PeftModel.fromPretrained(await base(), join(folder, 'checkpoint'), { isTrainable: true })
    const optimizer = new SGD(model.parameters(), { lr: schedule.lr })
    for (const { step, loss } of schedule.steps) {
      const out = await model.forward({ inputIds: input_ids, attentionMask: attention_mask, labels })
      t.true(Math.abs(out.loss!.item() - loss) < 1e-5, `step ${step}`)
      await out.loss!.backward()
      await optimizer.step()
      await model[call](step)
      optimizer.zeroGrad()
      for (const key of Object.keys(expected).filter(k => k.startsWith(`step${step}.E.`))) {
        const found = model.parameter(`base_model.model.${key.slice(`step${step}.E.`.length)}.lora_E.default`)
        t.true(gap(numbers(found), numbers(expected[key])) < 1e-5, key)
      }
    }
    const dir = temp()
    await model.savePretrained(dir)
    t.deepEqual(readJson(join(dir, 'adapter_config.json')).rank_pattern, readJson(join(folder, 'final/adapter_config.json')).rank_pattern)
    const again = await PeftModel.fromPretrained(await base(), dir, { strict: true })
    t.true(gap(await logits(again), await logits(model)) < 1e-5)
  }
})

test('the Trainer moves ranks by itself', async t => {
  const model = await adalora()
  await all(new Trainer({ model, train: batches, optimizer: new AdamW(model.parameters(), { lr: 0.01 }) }).run({ epochs: 2 }))
  t.is(sum(left(model)), 2 * left(model).length)
  t.deepEqual(Object.values(pattern(model)!).map(kept => kept.filter(Boolean).length), left(model))
})

test('a Trainer that is cut off before, between and after allocations goes on to the same bits', async t => {
  const make = async (checkpointDirectory?: string, resume = false) => {
    const model = await adalora({ loraDropout: 0.2 })
    const optimizer = new AdamW(model.parameters(), { lr: 0.01 })
    return { model, trainer: new Trainer({ model, train: batches, optimizer, seed: 5, resume, checkpointDirectory }) }
  }
  const whole = await make()
  await all(whole.trainer.run({ epochs: 2 }))
  for (const cut of [1, 5, 8, 10]) {
    const dir = temp()
    const first = await make(dir)
    const controller = new AbortController()
    await t.throwsAsync(async () => {
      for await (const step of first.trainer.run({ epochs: 2, signal: controller.signal })) if (step.step === cut) controller.abort(new Error('cut'))
    }, { message: 'cut' })
    t.true(existsSync(join(dir, readdirSync(dir)[0], 'steps.safetensors')))
    const second = await make(dir, true)
    await all(second.trainer.run({ epochs: 2 }))
    t.deepEqual(await logits(second.model.eval()), await logits(whole.model.eval()), `cut after ${cut}`)
    t.deepEqual(left(second.model), left(whole.model))
    t.deepEqual(pattern(second.model), pattern(whole.model))
  }
})

test('an optimizer\'s step starts from within COFT\'s bound', async t => {
  const model = await Swift.prepareModel(await base(), new OFTConfig({
    oftBlockSize: 8, targetModules: ['q_proj'], coft: true, eps: 0.01, initWeights: false,
  }))
  const name = 'base_model.model.model.layers.0.self_attn.q_proj.oft_R.default.weight'
  const norms = () => {
    const { shape: [blocks, n] } = model.parameter(name)
    const values = numbers(model.parameter(name))
    return Array.from({ length: blocks }, (_, i) => Math.sqrt(2 * sum(values.slice(i * n, (i + 1) * n).map(x => x * x))))
  }
  const bound = 0.01 / Math.sqrt(8)
  t.true(norms().every(n => n > bound))
  const { loss } = await model.forward(batches[0])
  await loss!.backward()
  await new SGD(model.parameters(), { lr: 0 }).step()
  t.true(norms().every(n => n <= bound * 1.0001))
})

test('the number of a step is a number', async t => {
  const model = await adalora()
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => model.onStep(-1))
  await failsWith(t, 'ERR_INVALID_STATE', () => model.onStep(0)) // no gradients yet
})
