/** Networks of one's own. The files of fixtures/custom are PyTorch's (see make.py there). */
import { join } from 'node:path'
import test from 'ava'
import {
  AdapterConfig, AdamW, AutoModel, type ContainerSpec, HRAConfig, IA3Config, LoRAConfig, LoraConfig, type Model, nn, OFTConfig, PartConfig, PeftModel, PromptConfig, readSafetensors, SCETuningConfig, Swift,
  type SwiftConfig, type SwiftModel, Tensor,
} from '../index.js'
import { failsWith, fixtures, gap, numbers, randomTensor, rng, temp } from './support.js'

const NETS: Record<string, ContainerSpec> = {
  image: nn.sequential({
    stem: nn.conv2d(3, 8, 3, { stride: 2, padding: 1 }), norm: nn.groupNorm(4, 8), act: nn.silu(),
    mix: nn.residual([nn.conv2d(8, 8, 3, { padding: 2, dilation: 2, groups: 2, bias: false }), nn.tanh()]),
    up: nn.upsample(2), out: nn.conv2d(8, 6, 1), gate: nn.sigmoid(), pool: nn.globalAveragePool(), flat: nn.flatten(), head: nn.linear(6, 4),
  }),
  text: nn.sequential({
    embed: nn.embedding(20, 16),
    blocks: nn.moduleList([
      nn.residual([nn.layerNorm(16), nn.multiheadAttention(16, 4, { causal: true })]),
      nn.residual([nn.rmsNorm(16), nn.linear(16, 24), nn.gelu(), nn.linear(24, 16, { bias: false })]),
      nn.residual([nn.linear(16, 16), nn.gelu({ approximate: 'tanh' }), nn.relu(), nn.identity()]),
      nn.multiheadAttention(16, 2),
    ]),
    pool: nn.meanPool(), head: nn.linear(16, 3),
  }),
}
const feed = (name: string, input: Tensor | number[][]) => (name === 'text' ? { inputIds: input } : { input })
const run = async (model: Model, inputs: object) => numbers((await model.forward(inputs)).logits!)

for (const name of Object.keys(NETS)) {
  test(`${name}: outputs and gradients equal PyTorch's`, async t => {
    const tensors = await readSafetensors(join(fixtures, `custom/${name}.safetensors`))
    const part = (prefix: string) => Object.fromEntries(Object.entries(tensors).filter(([k]) => k.startsWith(prefix)).map(([k, v]) => [k.slice(prefix.length), v]))
    const model = await AutoModel.fromModules(NETS[name])
    model.loadStateDict(part('weight.'))
    const { logits } = await model.forward(feed(name, tensors.input))
    t.true(gap(numbers(logits!), numbers(tensors.logits)) < 1e-5)
    await logits!.sqr().mean().backward()
    const grads = part('grad.')
    t.deepEqual(model.parameters().map(p => p.name), Object.keys(part('weight.')).sort((a, b) => order(model, a) - order(model, b)))
    for (const p of model.parameters()) t.true(gap(numbers(p.grad!), numbers(grads[p.name])) < 1e-5, p.name)
  })
}
const order = (model: Model, name: string) => model.namedParameters().findIndex(p => p.name === name)

const text = feed('text', [[3, 7, 1, 19], [0, 5, 5, 2]])
const image = feed('image', randomTensor([2, 3, 8, 8], rng(4)))
const tuned: [string, object, string, SwiftConfig][] = [
  ['text', text, 'lora', new LoRAConfig({ r: 2, targetModules: ['q_proj', 'v_proj'] })],
  ['text', text, 'lookup', new LoRAConfig({ r: 2, targetModules: '.*blocks\\.1\\.1|embed' })],
  ['text', text, 'adapter', new AdapterConfig({ dim: 16, targetModules: 'blocks\\.[12]', adapterLength: 4 })],
  ['text', text, 'prompt', new PromptConfig({ dim: 16, targetModules: 'blocks\\.[13]', embeddingPos: 0, promptLength: 1 })],
  ['text', text, 'part', new PartConfig({ targetModules: 'head' })],
  ['image', image, 'conv', new LoRAConfig({ r: 2, targetModules: ['stem', 'out'] })],
  ['image', image, 'sce', new SCETuningConfig({ dims: [8], targetModules: ['act'], tunerMode: 'identity', downRatio: 0.5 })],
  ['image', image, 'hinted', new SCETuningConfig({ dims: [8], targetModules: ['mix'], hintModules: ['stem'], tunerMode: 'identity' })],
]
for (const [net, inputs, name, config] of tuned) {
  test(`${net}: ${name} is attached, trained, saved, loaded, and switched off`, async t => {
    const model = await AutoModel.fromModules(NETS[net], { seed: 2 })
    const dir = temp()
    await model.savePretrained(join(dir, 'base'))
    const before = await run(model, inputs)
    const swift = await Swift.prepareModel(model, { [name]: config })
    const optimizer = new AdamW(swift.parameters(), { lr: 0.02 })
    const losses: number[] = []
    for (let step = 0; step < 8; step++) {
      const loss = (await swift.forward(inputs)).logits!.sub(1).sqr().mean()
      losses.push(loss.item())
      await loss.backward()
      await optimizer.step()
      swift.zeroGrad()
    }
    t.true(losses[7] < losses[0], String(losses))
    swift.eval()
    const after = await run(swift, inputs)
    await swift.savePretrained(join(dir, 'tuned'))
    swift.setActiveAdapters([])
    t.deepEqual(await run(swift, inputs), before)
    const loaded = (await Swift.fromPretrained(await AutoModel.fromPretrained(join(dir, 'base')), join(dir, 'tuned'))) as SwiftModel
    t.deepEqual(await run(loaded, inputs), after)
  })
}

test('LoRA on a convolution merges to the same outputs', async t => {
  const model = await AutoModel.fromModules(NETS.image, { seed: 2 })
  const swift = await Swift.prepareModel(model, { a: new LoRAConfig({ r: 2, targetModules: ['stem', 'out'], initLoraWeights: false }) })
  const unmerged = await run(swift, image)
  await Swift.mergeAndUnload(swift)
  t.true(gap(await run(swift, image), unmerged) < 1e-5)
})

test('a hint is added to what the tuner sees', async t => {
  const net = nn.sequential({ hint: nn.linear(4, 4), target: nn.linear(4, 4) })
  const input = randomTensor([3, 4], rng(1))
  const sce = (hintModules: string[] | null) =>
    new SCETuningConfig({ dims: 4, targetModules: ['target'], hintModules, tunerMode: 'identity', downRatio: 0.5 })
  const model = await AutoModel.fromModules(net, { seed: 2 })
  const y = (await model.forward({ input })).logits!
  const h = input.matmul(model.parameter('hint.weight').transpose(0, 1)).add(model.parameter('hint.bias'))
  const swift = await Swift.prepareModel(model, { a: sce(['hint']) })
  // So far above zero GELU is the identity.
  const values = Object.fromEntries(swift.parameters().map(p => [p.name, p.name.endsWith('ln1.bias') ? Tensor.from([50, 60]) : randomTensor(p.shape, rng(3))]))
  swift.loadStateDict(values, { strict: false })
  const [w1, b1, w2, b2] = swift.parameters().map(p => swift.parameter(p.name))
  const expected = y.add(y.add(h).matmul(w1.transpose(0, 1)).add(b1).matmul(w2.transpose(0, 1)).add(b2))
  t.true(gap(await run(swift, { input }), numbers(expected)) < 1e-4)
  const wrong = await AutoModel.fromModules(NETS.image)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.prepareModel(wrong, { a: new SCETuningConfig({ dims: [8], targetModules: ['mix'], hintModules: ['stem', 'act'], tunerMode: 'identity' }) }))
  const late = await Swift.prepareModel(wrong, { a: new SCETuningConfig({ dims: [8], targetModules: ['mix'], hintModules: ['out'], tunerMode: 'identity' }) })
  const error = await failsWith(t, 'ERR_INVALID_STATE', () => late.forward(image))
  t.regex(error.message, /before its hint out/)
})

test('a description that cannot be built is refused by place', async t => {
  const bad: [object, RegExp][] = [
    [nn.sequential({ a: { type: 'Transformer' } }), /module\.modules\.a.*Transformer/],
    [nn.sequential({ 'a.b': nn.relu() }), /a\.b/],
    [nn.sequential({ a: { ...nn.linear(1, 3), in_features: 0 } }), /module\.modules\.a\.in_features/],
    [nn.sequential({ a: nn.conv2d(3, 4, 3, { groups: 2 }) }), /groups/],
    [nn.sequential({ a: nn.multiheadAttention(10, 4) }), /num_heads/],
    [{ type: 'Linear', in_features: 3, out_features: 3 }, /outermost/],
    [{ type: 'Sequential' }, /modules/],
  ]
  for (const [module, text] of bad) {
    const error = await failsWith(t, 'ERR_INVALID_CONFIG', () => AutoModel.fromModules(module as ContainerSpec))
    t.regex(error.message, text)
  }
  for (const call of [
    () => nn.linear(0, 3), () => nn.linear(3, '4' as never), () => nn.embedding(1.5, 3), () => nn.sequential([3 as never]), () => nn.sequential(null as never), () => nn.dropout(2),
  ]) await failsWith(t, 'ERR_INVALID_ARGUMENT', call)
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => nn.linear(3, 4, { biass: true } as never))).message, /nn\.linear: there is no option biass; did you mean bias\?/)
  let deep: ContainerSpec = nn.sequential([nn.relu()])
  for (let i = 0; i < 200; i++) deep = nn.sequential([deep])
  await failsWith(t, 'ERR_INVALID_CONFIG', () => AutoModel.fromModules(deep))
})

test('LoRA on a convolution in groups gives PEFT\'s numbers, and is refused where it would have to be merged', async t => {
  const tensors = await readSafetensors(join(fixtures, 'custom/grouped.safetensors'))
  const part = (prefix: string) => Object.fromEntries(Object.entries(tensors).filter(([k]) => k.startsWith(prefix)).map(([k, v]) => [k.slice(prefix.length), v]))
  const base = await AutoModel.fromModules(nn.sequential({ conv: nn.conv2d(6, 8, 3, { padding: 1, groups: 2 }), out: nn.conv2d(8, 2, 1) }))
  base.loadStateDict(part('weight.'))
  const model = await Swift.prepareModel(base, new LoraConfig({ r: 4, loraAlpha: 6, targetModules: ['conv'] }))
  model.loadStateDict(part('adapter.'), { strict: false })
  const { logits } = await model.eval().forward({ input: tensors.input })
  t.true(gap(numbers(logits!), numbers(tensors.output)) < 1e-5)
  await logits!.sqr().mean().backward()
  for (const [name, grad] of Object.entries(part('grad.'))) t.true(gap(numbers(model.gradient(name)!), numbers(grad)) < 1e-5, name)
  const before = numbers(model.parameter('base_model.model.conv.base_layer.weight'))
  await t.throwsAsync(Swift.merge(model), { message: /groups/ })
  t.deepEqual(numbers(model.parameter('base_model.model.conv.base_layer.weight')), before)
  await t.throwsAsync(Swift.prepareModel(await AutoModel.fromModules(nn.sequential({ conv: nn.conv2d(6, 8, 3, { groups: 2 }) })), new LoraConfig({ r: 3, targetModules: ['conv'] })), { message: /groups/ })
})

for (const name of ['lora', 'dora', 'loha', 'loha-effective', 'lokr', 'hira']) {
  test(`conv1d: PEFT's ${name} gives Python's outputs, gradients and merged outputs`, async t => {
    const folder = join(fixtures, 'custom/conv1d')
    const [net, values] = [await readSafetensors(join(folder, 'net.safetensors')), await readSafetensors(join(folder, name, 'values.safetensors'))]
    const base = await AutoModel.fromModules(nn.sequential({
      c1: nn.conv1d(4, 6, 3, { stride: 2, padding: 1 }), act: nn.relu(), c2: nn.conv1d(6, 4, 3, { padding: 1, groups: 2 }), flat: nn.flatten(), head: nn.linear(24, 3),
    }))
    base.loadStateDict(Object.fromEntries(Object.entries(net).filter(([k]) => k.startsWith('weight.')).map(([k, v]) => [k.slice(7), v])))
    const model = (await PeftModel.fromPretrained(base, join(folder, name), { isTrainable: true, strict: true })).eval()
    const { logits } = await model.forward({ input: net.input })
    t.true(gap(numbers(logits!), numbers(values.out)) < 1e-5)
    await logits!.sqr().mean().backward()
    const grads = Object.entries(values).filter(([k]) => k.startsWith('grad.'))
    t.true(grads.length > 1)
    // Of these PEFT's own backward pass gives no derivatives (DIFFERENCES.md: LoHa with use_effective_conv2d).
    const wrong = (key: string) => name === 'loha-effective' && /hada_w[12]_a/.test(key)
    for (const [key, grad] of grads.filter(([key]) => !wrong(key))) t.true(gap(numbers(model.gradient(key.slice(5))!), numbers(grad)) < 1e-5, key)
    if (values.merged) {
      const merged = await model.mergeAndUnload()
      t.true(gap(await run(merged, { input: net.input }), numbers(values.merged)) < 1e-5)
    }
  })
}

test('conv1d: tuners that Python has no such layer for refuse it by name', async t => {
  const model = await AutoModel.fromModules(nn.sequential({ c1: nn.conv1d(4, 8, 3), flat: nn.flatten() }))
  for (const config of [new OFTConfig({ targetModules: ['c1'] }), new HRAConfig({ targetModules: ['c1'] }), new IA3Config({ targetModules: ['c1'], feedforwardModules: [] })]) {
    t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.prepareModel(model, config))).message, /c1 is a torch\.nn\.Conv1d/)
  }
})
