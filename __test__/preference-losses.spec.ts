/** Losses over preferences and their gradients against what plain torch computed; TRL and ms-swift agree with it (checks.json). */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  AutoModel, cpoLoss, type CPOLossOptions, dpoLoss, type DPOLossOptions, groupAdvantages, grpoLoss, type GRPOLossOptions, ktoLoss, type KTOLossOptions, type Model, orpoLoss, PeftModel,
  readSafetensors, rewardLoss, sequenceLogps, simpoLoss, Tensor, withReference, writeSafetensors,
} from '../index.js'
import { base, fixtures, gap, numbers, readJson, temp } from './support.js'

const folder = join(fixtures, 'preference')
const read = (name: string) => readJson(join(folder, name))
const camel = (options: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(options).map(([k, v]) => [k.replace(/_(\w)/g, (_, c: string) => c.toUpperCase()), v]))

/** Rows of prompt and answer, right-padded; labels are the answers'. */
function batchOf(rows: { prompt: number[]; answer: number[] }[]) {
  const width = Math.max(...rows.map(r => r.prompt.length + r.answer.length))
  const filled = (row: number[], fill: number) => [...row, ...Array<number>(width - row.length).fill(fill)]
  return {
    inputIds: rows.map(r => filled([...r.prompt, ...r.answer], 0)),
    attentionMask: rows.map(r => filled([...r.prompt, ...r.answer].map(() => 1), 0)),
    labels: rows.map(r => filled([...r.prompt.map(() => -100), ...r.answer], -100)),
  }
}

const tuned = async () => (await PeftModel.fromPretrained(await base(), join(folder, 'adapter'), { isTrainable: true })).eval()
const mean = (of: Awaited<ReturnType<typeof sequenceLogps>>, rows: number) => {
  const count = of.tokens.slice(0, rows).reduce((a, b) => a + b, 0)
  return of.perToken.narrow(0, 0, rows).sum().neg().div(count)
}

interface Case {
  name: string
  method: string
  options: Record<string, unknown>
  loss: number
  losses?: number[]
  chosen_rewards?: number[]
  rejected_rewards?: number[]
  rewards?: number[]
  kl?: number
  clip_ratio?: number
  advantages?: number[]
}

const TOLERANCE = 2e-5
const near = (t: ExecutionContext, found: number | ArrayLike<number>, expected: number | number[] | undefined, what: string, within = TOLERANCE) => {
  if (expected === undefined) return
  const [a, b] = [[found].flat() as number[], [expected].flat()]
  const scale = Math.max(1, ...b.map(Math.abs))
  t.true(gap(Array.from(a), b) <= within * scale, `${what}: ${Array.from(a)} and not ${b}`)
}

async function gradients(t: ExecutionContext, model: PeftModel, name: string, loss: Tensor): Promise<void> {
  const expected = await readSafetensors(join(folder, 'gradients.safetensors'))
  model.zeroGrad()
  await loss.backward()
  const keys = Object.keys(expected).filter(key => key.startsWith(`${name}.grad.`))
  t.is(keys.length, 2)
  for (const key of keys) {
    const found = model.gradient(key.slice(`${name}.grad.`.length))
    near(t, numbers(found!.toDtype('f32')), numbers(expected[key].toDtype('f32')), key, 5e-5)
  }
}

test('log-probabilities of answers are those of torch, with and without the adapter, and never need all logits', async t => {
  const { pairs } = read('pairs.json')
  const model = await tuned()
  for (const side of ['chosen', 'rejected']) {
    const inputs = batchOf(pairs.map((p: Record<string, number[]>) => ({ prompt: p.prompt, answer: p[side] })))
    const own = await sequenceLogps(model, inputs)
    const reference = await withReference(model, () => sequenceLogps(model, inputs, { grad: false }))
    near(t, numbers(own.sum), pairs.map((p: Record<string, number>) => p[`${side}_logp`]), side, 2e-4)
    near(t, numbers(reference.sum), pairs.map((p: Record<string, number>) => p[`ref_${side}_logp`]), `ref ${side}`, 2e-4)
    for (const [i, pair] of pairs.entries()) {
      const places = numbers(own.perToken.narrow(0, i, 1)).filter((_, at) => inputs.labels[i][at + 1] !== -100)
      near(t, places, pair[`${side}_logps`], `${side} ${i}`, 2e-4)
      t.is(own.tokens[i], pair[side].length)
    }
    // What a model gives whose logits are there.
    const { logits } = await model.forward({ inputIds: inputs.inputIds, attentionMask: inputs.attentionMask })
    const [rows, seq, vocabulary] = logits!.shape
    const targets = inputs.labels.map(row => [...row.slice(1), -100].map(label => Math.max(0, label)))
    const all = logits!.logSoftmax(-1).reshape(rows * seq, vocabulary).gather(1, Tensor.from(targets.flat().map(v => [v]), undefined, { dtype: 'i64' })).reshape(rows, seq)
    const masked = numbers(all.narrow(1, 0, seq - 1)).map((v, at) => (inputs.labels[Math.floor(at / (seq - 1))][(at % (seq - 1)) + 1] === -100 ? 0 : v))
    near(t, numbers(own.perToken), masked, 'by logits')
  }
})

for (const c of read('cases.json').cases.filter((c: Case) => c.method !== 'kto') as Case[]) {
  test(`${c.name} gives torch's loss and gradients`, async t => {
    const { pairs } = read('pairs.json')
    const model = await tuned()
    const rowsOf = (side: string) => pairs.map((p: Record<string, number[]>) => ({ prompt: p.prompt, answer: p[side] }))
    const inputs = batchOf([...rowsOf('chosen'), ...rowsOf('rejected')])
    const k = pairs.length
    const own = await sequenceLogps(model, inputs)
    const reference = await withReference(model, () => sequenceLogps(model, inputs, { grad: false }))
    const half = (x: Tensor, from: number) => x.narrow(0, from, k)
    const { nll_over: over, ...options } = c.options
    let chosenNll = mean(own, k)
    if (over === 'prompt and answer') {
      const whole = { ...inputs, labels: inputs.inputIds.map((row, i) => row.map((id, j) => (inputs.attentionMask[i][j] ? id : -100))) }
      chosenNll = mean(await sequenceLogps(model, whole), k)
    }
    const logps = {
      chosen: half(own.sum, 0), rejected: half(own.sum, k), chosenTokens: own.tokens.slice(0, k), rejectedTokens: own.tokens.slice(k), chosenNll,
      refChosen: half(reference.sum, 0), refRejected: half(reference.sum, k),
    }
    const { refChosen: _, refRejected: __, ...alone } = logps
    const found = c.method === 'dpo' ? dpoLoss(logps, camel(options) as DPOLossOptions)
      : c.method === 'orpo' ? orpoLoss(alone, camel(options))
        : c.method === 'simpo' ? simpoLoss(alone, camel(options)) : cpoLoss(alone, camel(options) as CPOLossOptions)
    near(t, found.loss.item(), c.loss, 'loss')
    near(t, numbers(found.losses.toDtype('f32')), c.losses, 'losses')
    near(t, numbers(found.chosenRewards.toDtype('f32')), c.chosen_rewards, 'chosen', 2e-4)
    near(t, numbers(found.rejectedRewards.toDtype('f32')), c.rejected_rewards, 'rejected', 2e-4)
    await gradients(t, model, c.name, found.loss)
  })
}

for (const c of read('cases.json').cases.filter((c: Case) => c.method === 'kto') as Case[]) {
  test(`${c.name} gives torch's loss and gradients`, async t => {
    const { batch, ...options } = c.options
    const { rows, kl_before_clamp: kl } = read('kto.json').batches[batch as string]
    const model = await tuned()
    const at = (answer: string) => batchOf(rows.map((r: Record<string, number[]>) => ({ prompt: r.prompt, answer: r[answer] })))
    const own = await sequenceLogps(model, at('completion'))
    const mismatched = await sequenceLogps(model, at('kl_completion'), { grad: false })
    const [ref, refKl] = await withReference(model, async () =>
      [await sequenceLogps(model, at('completion'), { grad: false }), await sequenceLogps(model, at('kl_completion'), { grad: false })])
    near(t, mismatched.sum.sub(refKl.sum).mean().item(), kl, 'kl', 2e-4)
    const found = ktoLoss({ logps: own.sum, refLogps: ref.sum, labels: rows.map((r: { label: boolean }) => r.label), klLogps: mismatched.sum, refKlLogps: refKl.sum }, camel(options) as KTOLossOptions)
    near(t, found.loss.item(), c.loss, 'loss')
    near(t, found.kl, c.kl, 'kl', 2e-4)
    near(t, numbers(found.losses.toDtype('f32')), c.losses, 'losses')
    near(t, numbers(found.rewards.toDtype('f32')), c.rewards, 'rewards', 2e-4)
    await gradients(t, model, c.name, found.loss)
  })
}

for (const c of read('reward.json').cases as Case[]) {
  test(`${c.name} gives torch's loss and gradients`, async t => {
    const { pairs } = read('pairs.json')
    const { chosen_rewards: chosen, rejected_rewards: rejected } = read('reward.json')
    const model = (await PeftModel.fromPretrained(await scorer(), join(folder, 'adapter'), { isTrainable: true })).eval()
    const rowsOf = (side: string) => pairs.map((p: Record<string, number[]>) => ({ prompt: p.prompt, answer: p[side] }))
    const { inputIds, attentionMask } = batchOf([...rowsOf('chosen'), ...rowsOf('rejected')])
    const rewards = (await model.forward({ inputIds, attentionMask })).logits!.reshape(inputIds.length)
    const [good, bad] = [rewards.narrow(0, 0, pairs.length), rewards.narrow(0, pairs.length, pairs.length)]
    near(t, numbers(good), chosen, 'chosen', 2e-4)
    near(t, numbers(bad), rejected, 'rejected', 2e-4)
    const { margin, ...options } = c.options
    const found = rewardLoss({ chosen: good, rejected: bad, ...(margin ? { margin: margin as number[] } : {}) }, camel(options))
    near(t, found.loss.item(), c.loss, 'loss')
    near(t, numbers(found.losses.toDtype('f32')), c.losses, 'losses')
    await gradients(t, model, c.name, found.loss)
  })
}

/** The tiny llama with a head that scores whole texts. */
async function scorer(): Promise<Model> {
  const [from, to] = [join(fixtures, 'models/llama'), temp()]
  const config = { ...readJson(join(from, 'config.json')), architectures: ['LlamaForSequenceClassification'], num_labels: 1, id2label: { 0: 'reward' }, label2id: { reward: 0 }, pad_token_id: 0 }
  const { 'lm_head.weight': _, ...body } = await readSafetensors(join(from, 'model.safetensors'))
  writeFileSync(join(to, 'config.json'), JSON.stringify(config))
  await writeSafetensors(join(to, 'model.safetensors'), { ...body, ...(await readSafetensors(join(folder, 'score.safetensors'))) })
  return AutoModel.fromPretrained(to, { dtype: 'f32' })
}

for (const c of read('grpo.json').cases as Case[]) {
  test(`GRPO: ${c.name} gives torch's loss and gradients`, async t => {
    const { rows, rewards, num_generations: numGenerations, max_completion_length: maxCompletionLength, tokens } = read('grpo.json')
    const { on_policy: onPolicy, scale_rewards: scaleRewards, ...options } = c.options
    const model = await tuned()
    const own = await sequenceLogps(model, batchOf(rows.map((r: Record<string, number[]>) => ({ prompt: r.prompt, answer: r.completion }))))
    const width = own.perToken.shape[1]
    const placed = (name: string) => Tensor.from(rows.map((r: Record<string, number[]>) => {
      const row = Array<number>(width).fill(0)
      r[name].forEach((v, i) => { row[r.prompt.length - 1 + i] = v })
      return row
    }))
    const advantages = groupAdvantages(rewards, { numGenerations, ...(scaleRewards ? { scaleRewards: scaleRewards as 'none' } : {}) })
    near(t, advantages, c.advantages, 'advantages')
    const found = grpoLoss({ logps: own.perToken, mask: own.mask, advantages, ...(onPolicy ? {} : { oldLogps: placed('old_logps') }), refLogps: placed('ref_logps'), items: tokens },
      { ...(camel(options) as GRPOLossOptions), maxCompletionLength })
    near(t, found.loss.item(), c.loss, 'loss')
    near(t, found.kl, c.kl, 'kl', 2e-4)
    near(t, found.clipRatio, c.clip_ratio, 'clip ratio', 1e-7)
    await gradients(t, model, c.name, found.loss)
  })
}

test('what a loss needs and was not given is named', t => {
  const one = Tensor.from([-1, -2])
  for (const [call, message] of [
    [() => dpoLoss({ chosen: one, rejected: Tensor.from([-1]) }), 'dpoLoss: rejected: expected 2 values, one for each row, found [1]'],
    [() => dpoLoss({ chosen: one, rejected: one }, { lossType: 'ipo' }), 'dpoLoss: chosenTokens: expected a tensor or numbers, one for each row, found undefined'],
    [() => dpoLoss({ chosen: one, rejected: one }, { rpoAlpha: 1 }), 'dpoLoss: chosenNll (which rpoAlpha needs): expected a tensor or numbers, one for each row, found undefined'],
    [() => dpoLoss({ chosen: one, rejected: one }, { loss_type: 'ipo' } as never), 'dpoLoss: there is no option loss_type; did you mean lossType? (names are in camelCase)'],
    [() => orpoLoss({ chosen: one, rejected: one, chosenTokens: [1, 1], rejectedTokens: [1, 1] }), 'orpoLoss: chosenNll (which ORPO needs): expected a tensor or numbers, one for each row, found undefined'],
    [() => ktoLoss({ logps: one, refLogps: one, labels: [true] }), 'ktoLoss: labels: expected 2 times true or false, found [true]'],
    [() => grpoLoss({ logps: Tensor.zeros([1, 2]), mask: Tensor.from([[1, 1]]), advantages: [1] }, { beta: 0.1 }), 'grpoLoss: refLogps: beta needs those of the reference'],
    [() => groupAdvantages([1, 2, 3], { numGenerations: 2 }), 'groupAdvantages: rewards: 3 are no multiple of numGenerations, 2'],
  ] as [() => unknown, string][]) t.is(t.throws(call)?.message, message)
})

test('an adapter that is its own reference has a gradient, and far apart pairs have a loss', async t => {
  const model = await PeftModel.fromPretrained(await base(), join(folder, 'adapter'), { isTrainable: true })
  const { pairs } = read('pairs.json')
  const rowsOf = (side: string) => batchOf(pairs.map((p: Record<string, number[]>) => ({ prompt: p.prompt, answer: p[side] })))
  const [chosen, rejected] = [await sequenceLogps(model.eval(), rowsOf('chosen')), await sequenceLogps(model, rowsOf('rejected'))]
  const found = dpoLoss({ chosen: chosen.sum, rejected: rejected.sum, refChosen: chosen.sum.detach(), refRejected: rejected.sum.detach() })
  near(t, found.loss.item(), Math.log(2), 'loss', 1e-12)
  await found.loss.backward()
  const gradient = numbers(model.gradient('base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight')!)
  t.true(Math.max(...gradient.map(Math.abs)) > 1e-4)
  const [far, near0] = [Tensor.from([-1e4, 1e4]), Tensor.from([0, 0])]
  const apart = dpoLoss({ chosen: far, rejected: near0 }, { beta: 1 })
  t.deepEqual(Array.from(apart.losses.dataSync(), Number).map(v => Math.round(v)), [10_000, 0])
})
