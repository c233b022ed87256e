/** What must hold for every tuner and every stack of them. */
import { join } from 'node:path'
import test from 'ava'
import {
  AdamW, AdapterConfig, AutoModel, LLaMAProConfig, LoRAConfig, LongLoRAConfig, type Model, type ModelInputs, NEFTuneConfig, nn, PartConfig,
  PromptConfig, ReftConfig, ResTuningConfig, SCETuningConfig, SideConfig, Swift, SwiftConfig, type SwiftModel, Tensor,
} from '../index.js'
import { base, failsWith, fixtures, gap, numbers, readJson, randomTensor, rng, snapshot, temp, IDS } from './support.js'

const output = async (model: Model, inputs: ModelInputs) => {
  const o = await model.forward(inputs)
  return numbers((o.logits ?? o.sample ?? o.lastHiddenState)!)
}

/** Everything of a model that a call could leave a trace in. */
const state = (model: Model) => JSON.stringify([
  model.namedParameters().map(p => [p.name, p.requiresGrad, numbers(model.parameter(p.name)).slice(0, 4)]), model.namedModules(), model.config,
])

/** A parameter's name in the plain model. */
const plain = (name: string) => name.replace(/^base_model\./, '').replace('.base_layer', '')

/** Gives every parameter of the adapters a random value, so that none starts as doing nothing; the base's own stay. */
function stir(model: Model, own: Set<string>, next: () => number): void {
  const values: Record<string, Tensor> = {}
  for (const p of model.namedParameters()) {
    if (p.requiresGrad && !own.has(plain(p.name))) values[p.name] = randomTensor(p.shape, next, 0.2)
  }
  model.loadStateDict(values, { strict: false })
}

const LLAMA: [string, SwiftConfig][] = [
  ['lora', new LoRAConfig({ r: 3, targetModules: ['q_proj', 'v_proj'] })],
  ['dora', new LoRAConfig({ r: 2, targetModules: ['o_proj', 'up_proj'], useDora: true })],
  ['saved', new LoRAConfig({ r: 2, targetModules: ['k_proj'], modulesToSave: ['lm_head'] })],
  ['longlora', new LongLoRAConfig({ r: 2, targetModules: ['k_proj'], modelType: 'llama' })],
  ['adapter', new AdapterConfig({ dim: 64, targetModules: ['mlp'], adapterLength: 5 })],
  ['attention', new AdapterConfig({ dim: 64, targetModules: '.*self_attn', hiddenPos: 0, adapterLength: 4 })],
  ['prompt', new PromptConfig({ dim: 64, targetModules: 'model\\.layers\\.[1-3]', embeddingPos: 0, attentionMaskPos: 'attention_mask', promptLength: 2 })],
  ['side', new SideConfig({ dim: 64, targetModules: '.*\\.[02]\\.mlp', sideModuleName: 'mlp' })],
  ['res', new ResTuningConfig({ dims: 64, rootModules: 'model\\.layers\\.0$', stemModules: 'model\\.layers\\.\\d+$', targetModules: 'model\\.norm', targetModulesHook: 'input', tunerCfg: 'res_adapter' })],
  ['sce', new SCETuningConfig({ dims: 64, targetModules: 'model\\.layers\\.\\d+\\.mlp', tunerMode: 'identity', downRatio: 0.25 })],
  ['part', new PartConfig({ targetModules: 'model\\.layers\\.3\\.mlp\\.(up|down)_proj' })],
  ['pro', new LLaMAProConfig({ modelType: 'llama', numNewBlocks: 2, numGroups: 2 })],
  ['reft', new ReftConfig({ modelType: 'llama', layers: [1, 2], r: 3 })],
  ['noise', new NEFTuneConfig()],
]
const VIT: [string, SwiftConfig][] = [
  ['lora', new LoRAConfig({ r: 3, targetModules: ['q_proj', 'v_proj'] })],
  ['adapter', new AdapterConfig({ dim: 64, targetModules: ['mlp'], adapterLength: 5 })],
  ['prompt', new PromptConfig({ dim: 64, targetModules: 'vit\\.layers\\.\\d+', embeddingPos: 0, promptLength: 3 })],
  ['side', new SideConfig({ dim: 5, targetModules: '', sideModuleName: 'fcn4', sourceHiddenPos: 'pixel_values', targetHiddenPos: 'logits' })],
  ['sce', new SCETuningConfig({ dims: 64, targetModules: 'vit\\.layers\\.\\d+', tunerMode: 'identity' })],
  ['part', new PartConfig({ targetModules: 'classifier' })],
]

/** Which stacks can run: prompts change the length that Res-Tuning's stems must share. */
const clash = (names: string[]) => names.includes('pro') && names.some(n => ['reft', 'part', 'res', 'prompt'].includes(n))

const stacks = (pool: [string, SwiftConfig][], next: () => number, count: number) => Array.from({ length: count }, () => {
  for (;;) {
    const chosen = pool.map(entry => [next(), entry] as const).sort((a, b) => a[0] - b[0]).slice(0, 2 + Math.floor(next() * 3)).map(e => e[1])
    if (!clash(chosen.map(c => c[0]))) return chosen
  }
})

const next = rng(11)
const bases: [string, [string, SwiftConfig][], ModelInputs, number][] = [
  ['llama', LLAMA, { inputIds: IDS }, 16],
  ['vit', VIT, { pixelValues: randomTensor([2, 3, 32, 32], next) }, 6],
]
for (const [name, pool, inputs, count] of bases) {
  for (const [i, stack] of stacks(pool, next, count).entries()) {
    test(`${name}, stack ${i}: ${stack.map(s => s[0]).join(', ')}`, async t => {
      const fresh = await base(name)
      const own = new Set(fresh.namedParameters().map(p => p.name))
      const before = await output(fresh, inputs)
      // Half of the stacks come by repeated calls, half as one dict.
      let model!: SwiftModel
      if (i % 2) model = await Swift.prepareModel(fresh, Object.fromEntries(stack), { seed: i })
      else for (const [adapter, config] of stack) model = await Swift.prepareModel(model ?? fresh, { [adapter]: config }, { seed: i })
      const names = stack.map(s => s[0])
      t.deepEqual([...model.adapters.keys()], names)
      t.deepEqual(model.activeAdapters, names)
      stir(model, own, next)
      model.eval()
      const all = await output(model, inputs)
      t.true(all.every(Number.isFinite))
      const some = names.filter(() => next() < 0.5)
      model.setActiveAdapters(some)
      const partly = await output(model, inputs)
      model.setActiveAdapters([])
      t.deepEqual(await output(model, inputs), before, 'inactive adapters leave the base bit for bit')
      for (const adapter of names) model.activateAdapter(adapter)
      t.deepEqual(await output(model, inputs), all)

      const [first, second] = [temp(), temp()]
      await model.savePretrained(first)
      const loaded = (await Swift.fromPretrained(await base(name), first)) as SwiftModel
      t.deepEqual([...loaded.adapters.keys()].sort(), [...names].sort())
      loaded.setActiveAdapters(names)
      t.deepEqual(await output(loaded, inputs), all, 'save and load is the identity')
      loaded.setActiveAdapters(some)
      t.deepEqual(await output(loaded, inputs), partly)
      await loaded.savePretrained(second)
      t.deepEqual(snapshot(second), snapshot(first))

      const held = state(model)
      const failing: Record<string, SwiftConfig> = Object.fromEntries(pool.filter(p => !names.includes(p[0]) && p[0] !== 'pro' && p[0] !== 'reft').slice(0, 3))
      failing.bad = new LoRAConfig({ r: 2, targetModules: ['no_such_module'] })
      await failsWith(t, 'ERR_TARGET_NOT_FOUND', () => Swift.prepareModel(model, failing))
      t.is(state(model), held, 'a failing attach leaves no trace')
      t.deepEqual([...model.adapters.keys()], names)
      t.deepEqual(await output(model, inputs), all)
    })
  }
}

// ── One by one ───────────────────────────────────────────────────────────────────────────────────────────────────────

for (const [name, pool, inputs] of bases) {
  for (const [adapter, config] of pool) {
    if (config instanceof NEFTuneConfig) continue
    test(`${name}: ${adapter} trains, and its gradients agree with finite differences`, async t => {
      const fresh = await base(name)
      const own = new Set(fresh.namedParameters().map(p => p.name))
      const model = await Swift.prepareModel(fresh, { [adapter]: config }, { seed: 1 })
      stir(model, own, rng(3))
      model.eval()
      const labelled = { ...inputs, labels: name === 'vit' ? [1, 3] : IDS }
      const loss = async () => (await model.forward(labelled)).loss!
      const start = await loss()
      await start.backward()
      // DoRA's norm counts as constant (section 4.3 of the paper): only the magnitude's gradient is exact.
      const detached = adapter === 'dora' ? /lora_[AB]/ : /^$/
      const draw = rng(5)
      const chosen = model.parameters().filter(p => p.grad && !own.has(plain(p.name)) && !detached.test(p.name)).map(p => [draw(), p] as const).sort((a, b) => a[0] - b[0]).slice(0, 4)
      t.true(chosen.length > 0)
      // The derivative along a random direction: f32 is too coarse for single elements.
      for (const [, p] of chosen) {
        const [value, grad] = [numbers(model.parameter(p.name)), numbers(p.grad!)]
        const direction = value.map(() => draw() - 0.5)
        const along = grad.reduce((sum, g, i) => sum + g * direction[i], 0)
        const eps = 5e-3 / Math.hypot(...direction)
        const moved = async (sign: number) => {
          const at = Float32Array.from(value, (v, i) => v + sign * eps * direction[i])
          model.loadStateDict({ [p.name]: Tensor.from(at, p.shape) }, { strict: false })
          return (await loss()).item()
        }
        const difference = (await moved(1) - await moved(-1)) / (2 * eps)
        await moved(0)
        t.true(Math.abs(along - difference) < 2e-2 * Math.max(0.05, Math.abs(along)), `${p.name}: ${along} against ${difference}`)
      }
      model.zeroGrad()
      const optimizer = new AdamW(model.parameters(), { lr: 5e-3 })
      for (let step = 0; step < 4; step++) {
        await (await loss()).backward()
        await optimizer.step()
        model.zeroGrad()
      }
      t.true((await loss()).item() < start.item())
    })
  }
}

test('what Python refuses or cannot run is refused by name here, or runs', async t => {
  const pixels = { pixelValues: randomTensor([2, 3, 32, 32], rng(1)) }
  const unet = { sample: randomTensor([1, 4, 8, 8], rng(1)), timestep: [10], encoderHiddenStates: randomTensor([1, 5, 32], rng(2)) }
  const inputsOf = (name: string, mask: boolean): ModelInputs =>
    name === 'vit' ? pixels : name === 'unet2d' ? unet : { inputIds: IDS, ...(mask && { attentionMask: [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]] }) }
  const outcomes: [RegExp, string | number[]][] = [
    [/nothing matched/, 'ERR_TARGET_NOT_FOUND'],
    [/deprecated/, 'ERR_INVALID_CONFIG'],
    [/needs a Linear/, 'ERR_INVALID_CONFIG'],
    [/divide the output/, 'ERR_INVALID_CONFIG'],
    [/rotary tables/, 'ERR_SHAPE'],
    // A longer sequence: the logits of the prompt's positions come along.
    [/output reshaped/, [2, 9, 160]],
    // The mask grows with the sequence, and rows that are padded stay so.
    [/pads query and key axes/, [2, 3]],
    [/KeyError/, 'ERR_INVALID_CONFIG'],
    [/keyed output/, [2, 5]],
    [/a port rebuilds/, [2, 6, 160]],
    [/broadcast only for batch size 1/, 'ERR_SHAPE'],
    [/unknown side module/, 'ERR_INVALID_CONFIG'],
    [/a ModuleList target/, 'ERR_TARGET_NOT_FOUND'],
    // The bypass starts at the first stem's input.
    [/root_modules is required/, [2, 5]],
    [/no stem/, 'ERR_TARGET_NOT_FOUND'],
    [/no target/, 'ERR_TARGET_NOT_FOUND'],
    [/hints/, [1, 4, 8, 8]],
    [/unknown mode/, 'ERR_INVALID_CONFIG'],
    [/one dim per target/, 'ERR_INVALID_CONFIG'],
  ]
  const { errors } = readJson(join(fixtures, 'errors/known-errors.json'))
  t.is(errors.length, outcomes.length)
  for (const e of errors) {
    const found = outcomes.filter(([text]) => text.test(e.comment))
    t.is(found.length, 1, e.comment)
    const run = async () => {
      const model = await Swift.prepareModel(await base(e.base), { a: SwiftConfig.fromJSON(e.config) })
      model.eval()
      const o = await model.forward(inputsOf(e.base, e.inputs.mask))
      return (o.logits ?? o.sample)!.shape
    }
    if (typeof found[0][1] === 'string') await failsWith(t, found[0][1], run)
    else t.deepEqual(await run(), found[0][1], e.comment)
  }
})

test('NEFTune: uniform noise of the paper\'s size on embeddings, in training only, drawn anew each pass', async t => {
  const net = nn.sequential({ embed: nn.embedding(30, 16), act: nn.identity() })
  const inputs = { inputIds: Array.from({ length: 40 }, (_, i) => Array.from({ length: 10 }, (_, j) => (i + j) % 30)) }
  const model = await AutoModel.fromModules(net, { seed: 1 })
  const clean = await output(model, inputs)
  const tuned = await Swift.prepareModel(model, { noisy: new NEFTuneConfig({ noiseAlpha: 3 }) })
  t.true(tuned.namedParameters().every(p => p.requiresGrad), 'alone it freezes nothing')
  tuned.eval()
  t.deepEqual(await output(tuned, inputs), clean)
  tuned.train()
  const noise = async () => (await output(tuned, inputs)).map((v, i) => v - clean[i])
  const [first, second] = [await noise(), await noise()]
  const bound = 3 / Math.sqrt(10 * 16)
  t.true(first.every(v => Math.abs(v) <= bound + 1e-6) && Math.max(...first) > 0.99 * bound && Math.min(...first) < -0.99 * bound)
  const mean = (v: number[]) => v.reduce((a, b) => a + b) / v.length
  t.true(Math.abs(mean(first)) < 0.03 * bound)
  t.true(Math.abs(mean(first.map(v => v * v)) / (bound ** 2 / 3) - 1) < 0.05, 'the variance of a uniform distribution')
  t.notDeepEqual(first, second)
  tuned.setActiveAdapters([])
  t.deepEqual(await output(tuned, inputs), clean)
  await failsWith(t, 'ERR_INVALID_STATE', () => Swift.prepareModel(tuned, { again: new NEFTuneConfig() }))
})

test('LLaMA-Pro starts as the base, decodes with the cache as without it, and names its blocks as SWIFT', async t => {
  for (const name of ['llama', 'mistral', 'qwen2', 'qwen3', 'phi3', 'gemma3', 'qwen3-moe', 'gpt2']) {
    const model = await base(name)
    const before = await output(model, { inputIds: IDS })
    // GPT-2 is laid out as SWIFT's first Qwen.
    const modelType = ({ phi3: 'phi3', gpt2: 'qwen' } as Record<string, string>)[name] ?? 'llama'
    const layers = Number(model.config.num_hidden_layers ?? model.config.n_layer)
    const tuned = await Swift.prepareModel(model, { pro: new LLaMAProConfig({ modelType, numNewBlocks: 2, numGroups: 2 }) })
    t.true(gap(await output(tuned, { inputIds: IDS }), before) < 1e-6, `${name}: new blocks are identities`)
    t.is(tuned.namedModules().filter(n => /(layers|h)\.\d+$/.test(n)).length, layers + 2, name)
    t.true(tuned.parameters().length > 0 && new Set(tuned.parameters().map(p => /(?:layers|h)\.(\d+)\./.exec(p.name)![1])).size === 2, name)
    stir(tuned, new Set(), rng(9))
    const tokens = async (ids: number[]) => {
      const out: number[] = []
      for (let i = 0; i < 5; i++) {
        const { logits } = await tuned.forward({ inputIds: [[...ids, ...out]] })
        out.push(Number(logits!.narrow(1, ids.length + i - 1, 1).argmax(-1).dataSync()[0]))
      }
      return out
    }
    const decoded: number[] = []
    for await (const step of tuned.generate({ inputIds: [[5, 9, 2]] }, { maxNewTokens: 5 })) decoded.push(step[0])
    t.deepEqual(decoded, (await tokens([5, 9, 2])).slice(0, decoded.length), name)
    t.is(decoded.length, 5)
  }
})

test('a second ReFT, and one with another tuner that it cannot meet, are refused without a trace', async t => {
  const model = await Swift.prepareModel(await base(), { reft: new ReftConfig({ modelType: 'llama', layers: [0], r: 2 }) })
  const held = state(model)
  await failsWith(t, 'ERR_INVALID_STATE', () => Swift.prepareModel(model, { more: new ReftConfig({ modelType: 'llama', layers: [1], r: 2 }) }))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.prepareModel(model, { far: new AdapterConfig({ dim: 63, targetModules: ['mlp'] }), worse: new LoRAConfig({ r: 0 }) }))
  t.is(state(model), held)
})

test('ReFT keeps its own layout: one safetensors file that loads again, trained', async t => {
  const model = await Swift.prepareModel(await base(), { reft: new ReftConfig({ modelType: 'llama', layers: [0, 3], r: 2 }) }, { seed: 4 })
  const optimizer = new AdamW(model.parameters(), { lr: 0.01 })
  const losses: number[] = []
  for (let i = 0; i < 6; i++) {
    const { loss } = await model.forward({ inputIds: IDS, labels: IDS })
    losses.push(loss!.item())
    await loss!.backward()
    await optimizer.step()
    model.zeroGrad()
  }
  t.true(losses[5] < losses[0], String(losses))
  const dir = temp()
  await model.savePretrained(dir)
  t.true(Object.keys(snapshot(dir)).includes('reft/adapter_model.safetensors'), String(Object.keys(snapshot(dir))))
  const again = await Swift.fromPretrained(await base(), dir)
  t.deepEqual(await output(again, { inputIds: IDS }), await output(model, { inputIds: IDS }))
  // The rotations stay orthogonal, whatever the optimizer does.
  for (const p of model.namedParameters().filter(q => q.name.includes('rotate') && q.shape.length === 2)) {
    const w = model.parameter(p.name)
    const [rows, cols] = w.shape
    if (rows < cols || p.name.includes('original')) continue
    const gram = numbers(w.transpose(0, 1).matmul(w))
    t.true(gram.every((v, i) => Math.abs(v - (i % (cols + 1) === 0 ? 1 : 0)) < 1e-4), p.name)
  }
})

test('Side with AlexNet runs on images and trains', async t => {
  const config = { ...readJson(join(fixtures, 'models/vit/config.json')), image_size: 64 }
  const model = await Swift.prepareModel(await AutoModel.fromConfig(config), {
    side: new SideConfig({ dim: 5, targetModules: '', sideModuleName: 'alexnet', sourceHiddenPos: 'pixel_values', targetHiddenPos: 'logits' }),
  })
  const o = await model.forward({ pixelValues: randomTensor([2, 3, 64, 64], rng(1)), labels: [0, 4] })
  t.deepEqual(o.logits!.shape, [2, 5])
  await o.loss!.backward()
  t.true(model.parameters().every(p => p.grad !== null))
})
