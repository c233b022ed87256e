/** Frozen bases in 4 and 8 bits, with adapters on top. */
import { join } from 'node:path'
import test from 'ava'
import {
  AdamW, AutoModel, LoraConfig, LoRAConfig, type Model, type PeftModel, type Quantization, readSafetensors, Swift, Tensor, Trainer,
} from '../index.js'
import { demo, failsWith, fixtures, gap, logits, lora, numbers, rng, temp } from './support.js'

const at = (name: string) => join(fixtures, 'models', name)
const load = (quantization: Quantization | { type: Quantization; skipModules?: string[] }, name = 'llama', dtype: 'f32' | 'bf16' = 'f32') =>
  AutoModel.fromPretrained(at(name), { dtype, quantization })
const KINDS = ['nf4', 'q8_0', 'q4_k'] as const

test('NF4 with LoRA on top gives the numbers of bitsandbytes and PEFT', async t => {
  const expected = await readSafetensors(join(fixtures, 'quantized/nf4-lora.safetensors'))
  const folder = join(fixtures, 'peft/basic')
  const { attention_mask, input_ids, labels } = await readSafetensors(join(folder, 'inputs.safetensors'))
  const mask = Array.from(attention_mask.dataSync() as BigInt64Array, Number)
  const inputs = { inputIds: input_ids, attentionMask: attention_mask }
  const close = (what: string, found: Tensor, key: string, tolerance: number) => {
    const [a, e] = [numbers(found), numbers(expected[key])]
    const width = e.length / mask.length
    const kept = (v: number[]) => (key.endsWith('logits') ? v.filter((_, i) => mask[Math.floor(i / width)]) : v)
    const scale = Math.max(1, ...kept(e).map(Math.abs))
    t.true(gap(kept(a), kept(e)) <= tolerance * scale, `${what}: ${gap(kept(a), kept(e))}`)
  }
  const base = await load({ type: 'nf4', skipModules: ['down_proj', 'lm_head'] })
  t.is(gap(numbers(base.parameter('model.layers.0.self_attn.o_proj.weight')), numbers(expected.o_proj)), 0)
  close('base', (await base.forward(inputs)).logits!, 'base.logits', 2e-5)
  const model = await Swift.fromPretrained(base, join(folder, 'checkpoint'), { inferenceMode: false }) as PeftModel
  model.eval()
  close('tuned', (await model.forward(inputs)).logits!, 'tuned.logits', 2e-5)
  const { loss } = await model.forward({ ...inputs, labels })
  close('loss', loss!, 'loss', 1e-5)
  await loss!.backward()
  const grads = Object.keys(expected).filter(k => k.startsWith('grad.'))
  t.is(grads.length, 16)
  for (const key of grads) close(key, model.gradient(key.slice(5))!, key, 1e-4)
  // Python merges into the decoded weight and rounds the sum again.
  close('merged', (await (await model.mergeAndUnload()).forward(inputs)).logits!, 'merged.logits', 1e-3)
})

test('NF4 blocks equal those of bitsandbytes, wherever a row begins', async t => {
  const { x, dequantized } = await readSafetensors(join(fixtures, 'quantized/blocks.safetensors'))
  const { nn } = await import('../index.js')
  const dir = temp()
  const net = await AutoModel.fromModules(nn.sequential({ only: nn.linear(100, 5, { bias: false }) }))
  net.loadStateDict({ 'only.weight': x })
  await net.savePretrained(dir)
  const packed = await AutoModel.fromPretrained(dir, { dtype: 'f32', quantization: 'nf4' })
  t.is(packed.namedParameters()[0].quantization, 'nf4')
  t.is(gap(numbers(packed.parameter('only.weight')), numbers(dequantized)), 0)
})

for (const kind of KINDS) {
  test(`${kind}: a packed base computes what its decoded weights compute, and trains adapters alike`, async t => {
    for (const name of ['llama', 'bert', 'vit', 't5']) {
      const packed = await load(kind, name)
      const parameters = packed.namedParameters()
      const chosen = parameters.filter(p => p.quantization)
      t.true(chosen.length > 3 && chosen.every(p => !p.requiresGrad && p.name.endsWith('weight') && !/lm_head|classifier|embed/.test(p.name)), name)
      const dense = await AutoModel.fromPretrained(at(name), { dtype: 'f32' })
      dense.loadStateDict(packed.stateDict())
      if (name === 'vit' || name === 't5') continue
      t.true(gap(await logits(packed), await logits(dense)) < 2e-5, name)
      const config = { r: 3, targetModules: 'all-linear' as const, initLoraWeights: false }
      const [a, b] = [await Swift.prepareModel(packed, new LoRAConfig(config)), await Swift.prepareModel(dense, new LoRAConfig(config))]
      b.loadStateDict(Object.fromEntries(Object.entries(a.stateDict()).filter(([n]) => n.includes('lora_'))), { strict: false })
      const grads = []
      for (const model of [a, b]) {
        const out = await model.forward({ inputIds: [[5, 9, 2, 77, 31, 4]] })
        await (out.logits ?? out.lastHiddenState)!.sqr().mean().backward()
        grads.push(model.namedParameters().filter(p => p.requiresGrad).flatMap(p => (model.gradient(p.name) ? numbers(model.gradient(p.name)!) : [])))
      }
      t.true(grads[0].length > 1000 && gap(grads[0], grads[1]) < 1e-4, name)
    }
  })
}

test('merging rounds again, unmerging brings the bits back, DoRA and several adapters run', async t => {
  const model = await Swift.prepareModel(await load('nf4'), { a: lora(), dora: lora({ targetModules: ['o_proj'], useDora: true }) })
  const before = await logits(model)
  const weight = () => numbers(model.parameter('base_model.model.layers.0.self_attn.q_proj.base_layer.weight'))
  const bits = weight()
  await Swift.merge(model)
  t.true(gap(weight(), bits) > 0)
  t.is(model.namedParameters().find(p => p.name.endsWith('layers.0.self_attn.q_proj.base_layer.weight'))?.quantization, 'nf4')
  t.true(gap(await logits(model), before) < 2.5, 'as far off as NF4 is from f32 on this model')
  await Swift.unmerge(model)
  t.is(gap(weight(), bits), 0)
  t.is(gap(await logits(model), before), 0)
  model.setActiveAdapters('a')
  const rows = await model.forward({ inputIds: [[5, 9, 2, 77, 31, 4], [8, 1, 150, 3, 3, 60]], adapterNames: ['a', 'a'] })
  t.true(gap(numbers(rows.logits!), await logits(model)) < 1e-6)
})

test('which modules are packed can be chosen; GPT-2 and training are refused', async t => {
  const all = await load({ type: 'nf4', skipModules: [] })
  t.is(all.namedParameters().find(p => p.name === 'lm_head.weight')?.quantization, 'nf4')
  const some = await load({ type: 'nf4', skipModules: ['mlp', 'lm_head', 'model.layers.0.self_attn.q_proj'] })
  const names = some.namedParameters().filter(p => p.quantization).map(p => p.name)
  t.true(names.length > 0 && names.every(n => !n.includes('mlp') && n !== 'model.layers.0.self_attn.q_proj.weight'))
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => load('nf4', 'gpt2'))).message, /c_attn/)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => load('int3' as Quantization))
  const packed = names[0]
  await failsWith(t, 'ERR_INVALID_STATE', () => some.setRequiresGrad(packed, true))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.prepareModel(some, lora(), { extraStateKeys: ['.*up_proj.*', '.*o_proj.*'] }))
  const tuned = await Swift.prepareModel(all, lora())
  await failsWith(t, 'ERR_INVALID_CONFIG', async () => {
    for await (const step of new Trainer({ model: tuned, train: [{ inputIds: [[1, 2]], labels: [[1, 2]] }], optimizer: new AdamW(tuned.parameters(), { lr: 1e-3 }), lisa: { activatedLayers: 1, stepInterval: 1 } }).run()) void step
  })
})

test('a packed base in bf16, its adapters saved and loaded, its weights saved as plain ones', async t => {
  const model = await Swift.prepareModel(await load('nf4', 'llama', 'bf16'), new LoraConfig({ r: 4, targetModules: ['q_proj', 'v_proj'], initLoraWeights: false }))
  const before = await logits(model)
  const dir = temp()
  await model.savePretrained(dir)
  const again = await Swift.fromPretrained(await load('nf4', 'llama', 'bf16'), dir)
  t.is(gap(await logits(again), before), 0)
  const plain = temp()
  const base = await load('q8_0')
  const out = await logits(base)
  await base.savePretrained(plain)
  const read = await AutoModel.fromPretrained(plain, { dtype: 'f32' })
  t.true(read.namedParameters().every(p => !p.quantization))
  t.true(gap(await logits(read), out) < 2e-5)
})

test('QLoRA on the demo model learns, and generates', async t => {
  const model = await Swift.prepareModel(
    await AutoModel.fromPretrained(join(demo, 'base-model'), { dtype: 'f32', quantization: 'nf4' }), new LoRAConfig({ r: 8, targetModules: 'all-linear' }))
  const next = rng(2)
  const ids = Array.from({ length: 4 }, () => Array.from({ length: 12 }, () => Math.floor(next() * 4000)))
  const optimizer = new AdamW(model.parameters(), { lr: 5e-3 })
  const losses: number[] = []
  model.train()
  for (let i = 0; i < 8; i++) {
    optimizer.zeroGrad()
    const { loss } = await model.forward({ inputIds: ids, labels: ids })
    await loss!.backward()
    await optimizer.step()
    losses.push(loss!.item())
  }
  t.true(losses[7] < losses[0] * 0.9, losses.join())
  model.eval()
  const steps: number[][] = []
  for await (const step of model.generate({ inputIds: [ids[0].slice(0, 4)] }, { maxNewTokens: 5, eosTokenId: [] })) steps.push(step)
  t.is(steps.length, 5)
  // With the cache as without.
  const full = (await (model as Model).forward({ inputIds: [[...ids[0].slice(0, 4), ...steps.slice(0, 4).map(s => s[0])]] })).logits!
  const last = numbers(full).slice(-full.shape[2])
  t.is(last.indexOf(Math.max(...last)), steps[4][0])
})
