import { join } from 'node:path'
import test from 'ava'
import { AdamW, LoRAConfig, LoraConfig, type Model, PartConfig, PeftModel, readSafetensors, Swift, SwiftModel, writeSafetensors } from '../index.js'
import { base, failsWith, gap, IDS, logits, lora, numbers, snapshot, temp } from './support.js'

test('an inactive LoRA leaves the output bit-identical', async t => {
  const model = await base()
  const before = await logits(model)
  const tuned = await Swift.prepareModel(model, { a: lora() })
  t.true(gap(before, await logits(tuned)) > 1e-3, 'a random LoRA changes the output')
  tuned.setActiveAdapters([])
  t.deepEqual(await logits(tuned), before)
})

test('unmerge restores every base weight bit for bit, in f32 and in half precision', async t => {
  for (const dtype of ['f32', 'bf16', 'f16'] as const) {
    const { AutoModel } = await import('../index.js')
    const { fixtures } = await import('./support.js')
    const model = await AutoModel.fromPretrained(join(fixtures, 'models/llama'), { dtype })
    const tuned = await Swift.prepareModel(model, { a: lora(), b: lora({ targetModules: ['embed_tokens', 'q_proj'], r: 2 }) })
    const weights = () => tuned.namedParameters().filter(p => p.name.includes('base_layer')).map(p => numbers(tuned.parameter(p.name)))
    const before = weights()
    await Swift.merge(tuned)
    t.notDeepEqual(weights(), before)
    await Swift.merge(tuned)
    await Swift.unmerge(tuned)
    t.deepEqual(weights(), before)
  }
})

test('merged and unmerged outputs agree, with rsLoRA, DoRA, patterns and Conv1D', async t => {
  const cases: [string, Record<string, unknown>][] = [
    ['llama', { useRslora: true }],
    ['llama', { useDora: true }],
    ['llama', { rankPattern: { q_proj: 7 }, alphaPattern: { 'layers.1.self_attn.v_proj': 30 } }],
    ['gpt2', { targetModules: ['c_attn', 'c_fc'] }],
    ['gpt2', { targetModules: ['c_attn'], useDora: true }],
    ['phi3', { targetModules: ['qkv_proj'], useMergedLinear: true, enableLora: [true, false] }],
  ]
  for (const [name, fields] of cases) {
    const tuned = await Swift.prepareModel(await base(name), { a: lora(fields) })
    // Merged linears and embeddings start at zero: a step makes them act.
    const optimizer = new AdamW(tuned.parameters(), { lr: 0.05 })
    await (await tuned.forward({ inputIds: IDS, labels: IDS })).loss!.backward()
    await optimizer.step()
    const unmerged = await logits(tuned)
    await Swift.merge(tuned)
    t.true(gap(unmerged, await logits(tuned)) < 1e-4, `${name} ${JSON.stringify(fields)}`)
    await Swift.unmerge(tuned)
    t.deepEqual(await logits(tuned), unmerged)
    await Swift.mergeAndUnload(tuned)
    t.true(gap(unmerged, await logits(tuned)) < 1e-4)
    t.false(tuned.namedModules().some(n => n.includes('lora_')))
  }
})

test('saving and loading is the identity, bit for bit', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora(), other: lora({ targetModules: 'all-linear', useDora: true }) })
  const before = await logits(tuned)
  const dir = temp()
  await tuned.savePretrained(dir)
  const again = (await Swift.fromPretrained(await base(), dir)) as SwiftModel
  t.deepEqual(await logits(again), before)
  t.deepEqual([...again.adapters.keys()], ['a', 'other'])
  const second = temp()
  await again.savePretrained(second)
  t.deepEqual(snapshot(second), snapshot(dir))
})

test('saving one adapter leaves out another whose name begins with it', async t => {
  const tuned = await Swift.prepareModel(await base(), { lo: lora(), lora: lora({ targetModules: ['o_proj'] }) })
  const dir = temp()
  await tuned.savePretrained(dir, { adapterName: 'lo' })
  t.deepEqual(Object.keys(snapshot(dir)), ['README.md', 'configuration.json', 'lo/adapter_config.json', 'lo/adapter_model.safetensors'])
  t.true(tuned.adapterKeys('lo').every(k => k.includes('.lo.') && !k.includes('o_proj')))
})

test('a second save keeps what it does not own and replaces an adapter as a whole', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora(), b: lora({ targetModules: ['o_proj'] }) })
  const dir = temp()
  await tuned.savePretrained(dir, { adapterName: 'a', safeSerialization: false })
  await tuned.savePretrained(dir, { adapterName: 'b' })
  await tuned.savePretrained(dir, { adapterName: 'a' })
  t.deepEqual(Object.keys(snapshot(dir)), [
    'README.md', 'a/adapter_config.json', 'a/adapter_model.safetensors', 'b/adapter_config.json', 'b/adapter_model.safetensors',
    'configuration.json',
  ])
})

test('a PEFT adapter saved as .bin loads again', async t => {
  const model = await Swift.prepareModel(await base(), new LoraConfig({ r: 3, initLoraWeights: false, taskType: 'CAUSAL_LM' }))
  const before = await logits(model)
  const dir = temp()
  await model.savePretrained(dir, { safeSerialization: false })
  t.true(Object.keys(snapshot(dir)).includes('adapter_model.bin'))
  const again = await Swift.fromPretrained(await base(), dir)
  t.true(again instanceof PeftModel)
  t.deepEqual(await logits(again), before)
})

test('a SWIFT checkpoint converted to PEFT gives the same logits, also when converted in place and twice', async t => {
  const tuned = await Swift.prepareModel(await base(), { default: lora({ useDora: true }), second: lora({ targetModules: ['o_proj'] }) })
  tuned.setActiveAdapters('default')
  const before = await logits(tuned)
  const [dir, converted] = [temp(), join(temp(), 'out')]
  await tuned.savePretrained(dir)
  await Swift.saveToPeftFormat(dir, converted)
  for (let i = 0; i < 2; i++) await Swift.saveToPeftFormat(dir, dir)
  for (const at of [converted, dir]) {
    const peft = await Swift.fromPretrained(await base(), at)
    t.true(peft instanceof PeftModel)
    t.deepEqual(peft.activeAdapters, ['default'])
    t.deepEqual(await logits(peft), before)
    t.false(Object.keys(snapshot(at)).some(f => f.startsWith('default/')))
  }
})

test('renaming at load touches the adapter component of a key only', async t => {
  const tuned = await Swift.prepareModel(await base(), { model: lora() })
  const before = await logits(tuned)
  const dir = temp()
  await tuned.savePretrained(dir)
  const again = await Swift.fromPretrained(await base(), dir, { adapterName: { model: 'renamed' } })
  t.deepEqual(await logits(again), before)
  t.deepEqual(again.activeAdapters, ['renamed'])
})

test('offload to meta gives the tensors back on activation, and saving works meanwhile', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora(), b: lora({ targetModules: ['o_proj'] }) })
  const both = await logits(tuned)
  tuned.setActiveAdapters('a', { offload: 'meta' })
  t.true(tuned.namedParameters().some(p => p.device === 'meta'))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => tuned.deactivateAdapter('a', { offload: 'moon' as 'meta' }))
  const dir = temp()
  await tuned.savePretrained(dir)
  t.deepEqual(await logits(await Swift.fromPretrained(await base(), dir)), both)
  tuned.activateAdapter('b')
  t.deepEqual(await logits(tuned), both)
  t.false(tuned.namedParameters().some(p => p.device === 'meta'))
})

test('withActiveAdapters scopes a set to its own async calls', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora(), b: lora({ targetModules: ['o_proj'] }) })
  const alone = async (name: string) => {
    tuned.setActiveAdapters(name)
    return logits(tuned)
  }
  const expected = { a: await alone('a'), b: await alone('b') }
  const names = ['a', 'b', 'a', 'b', 'b', 'a'] as const
  const results = await Promise.all(names.map(n => tuned.withActiveAdapters(n, async () => {
    await new Promise(r => setTimeout(r, Math.random() * 5))
    return logits(tuned)
  })))
  names.forEach((n, i) => t.deepEqual(results[i], expected[n]))
  t.deepEqual(tuned.activeAdapters, ['b'])
  await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', () => tuned.withActiveAdapters('zzz', () => logits(tuned)))
})

test('two active copies of one module are refused', async t => {
  const config = (target: string) => lora({ targetModules: [target], modulesToSave: ['classifier'] })
  const tuned = await Swift.prepareModel(await base('bert-classifier'), { l1: config('query'), l2: config('value') })
  await failsWith(t, 'ERR_INVALID_STATE', () => logits(tuned))
  tuned.setActiveAdapters('l1')
  await t.notThrowsAsync(() => logits(tuned))
})

test('LoRA+ groups give B matrices their own rate', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora({ lorapLrRatio: 4, targetModules: ['q_proj', 'embed_tokens'], lorapEmbLr: 5e-4 }) })
  const groups = tuned.createOptimizerParamGroups({ lr: 1e-3, weightDecay: 0.1 })
  t.deepEqual(groups.map(g => [g.params.length, g.lr, g.weightDecay]), [
    [4, 1e-3, 0.1], [2, 5e-4, 0.1], [4, 4e-3, 0.1], [0, 4e-3, 0], [0, undefined, 0.1], [0, undefined, 0],
  ])
  t.true(groups[2].params.every(p => p.name.includes('lora_B')))
})

test('a PEFT model adds, selects, merges and deletes adapters', async t => {
  const model = await Swift.prepareModel(await base(), new LoraConfig({ r: 4, initLoraWeights: false }))
  const first = await logits(model)
  await model.addAdapter('second', new LoraConfig({ r: 2, targetModules: ['o_proj'], initLoraWeights: false }))
  t.deepEqual(await logits(model), first, 'a further adapter is not active')
  t.deepEqual([...model.peftConfig.keys()], ['default', 'second'])
  model.setAdapter('second')
  t.true(model.parameters().every(p => p.name.includes('.second.')))
  await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', () => model.setAdapter('third'))
  await failsWith(t, 'ERR_ADAPTER_EXISTS', () => model.addAdapter('second', new LoraConfig({ r: 2 })))
  model.setAdapter('default')
  model.deleteAdapter('second')
  t.deepEqual(await logits(model), first)
  const plain = await model.mergeAndUnload({ safeMerge: true })
  t.true(gap(await logits(plain), first) < 1e-4)
  t.deepEqual(plain.namedModules().filter(n => n.includes('lora')), [])
})

test('loading a PEFT adapter warns of tensors that do not fit, is strict when asked, and can be aborted', async t => {
  const saved = temp()
  await (await Swift.prepareModel(await base(), new LoraConfig({ r: 4, initLoraWeights: false }))).savePretrained(saved)
  const file = join(saved, 'adapter_model.safetensors')
  const tensors = await readSafetensors(file)
  const [lost] = Object.keys(tensors)
  const { [lost]: tensor, ...rest } = tensors
  await writeSafetensors(file, { ...rest, 'base_model.model.stray.lora_A.weight': tensor })
  const warnings: string[] = []
  const listen = (w: Error) => { if (w.name === 'SwiftTunersWarning' && w.message.includes(saved)) warnings.push(w.message) }
  process.on('warning', listen)
  const warned = async (load: () => Promise<unknown>) => {
    warnings.length = 0
    await load()
    await new Promise(setImmediate)
    return warnings.map(w => /(missing|unexpected) tensors of adapter \w+/.exec(w)?.[0])
  }
  const model = await Swift.prepareModel(await base(), new LoraConfig({ r: 2 }))
  t.deepEqual(await warned(async () => PeftModel.fromPretrained(await base(), saved)), ['missing tensors of adapter default', 'unexpected tensors of adapter default'])
  t.deepEqual(await warned(() => model.loadAdapter(saved, 'b')), ['missing tensors of adapter b', 'unexpected tensors of adapter b'])
  process.off('warning', listen)
  t.is(model.loadReports.at(-1)!.missing.length, 1)
  await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', async () => PeftModel.fromPretrained(await base(), saved, { strict: true }))
  await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', () => model.loadAdapter(saved, 'c', { strict: true }))
  const reason = new Error('stop')
  t.is(await t.throwsAsync(() => model.loadAdapter(saved, 'c', { signal: AbortSignal.abort(reason) })), reason)
  t.deepEqual([...model.peftConfig.keys()], ['default', 'b'])
})

test('a merged model saves as a plain one, and an unmerged one is refused', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora() })
  const before = await logits(tuned)
  const dir = temp()
  await failsWith(t, 'ERR_INVALID_STATE', () => tuned.baseModel.savePretrained(dir))
  await Swift.mergeAndUnload(tuned)
  await tuned.baseModel.savePretrained(dir)
  const { AutoModel } = await import('../index.js')
  t.true(gap(await logits(await AutoModel.fromPretrained(dir)), before) < 1e-4)
})

test('the same seed gives the same adapter and another seed another', async t => {
  const make = async (seed: number) => logits(await Swift.prepareModel(await base(), { a: lora() }, { seed }))
  t.deepEqual(await make(1), await make(1))
  t.notDeepEqual(await make(1), await make(2))
})

test('dropout acts in training only and follows the seed', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora({ loraDropout: 0.5 }) })
  const plain = await logits(tuned)
  tuned.train()
  const dropped = await logits(tuned)
  t.true(gap(plain, dropped) > 1e-3)
  t.notDeepEqual(await logits(tuned), dropped, 'each pass draws anew')
  tuned.eval()
  t.deepEqual(await logits(tuned), plain)
})

test('what an adapter file lacks starts fresh, as if just attached, and trains', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora({ useDora: true }) })
  const dir = temp()
  await model.savePretrained(dir)
  const file = join(dir, 'a/adapter_model.safetensors')
  const tensors = await readSafetensors(file)
  const gone = Object.keys(tensors).filter(k => k.includes('layers.2.self_attn.q_proj'))
  t.is(gone.length, 3)
  await writeSafetensors(file, Object.fromEntries(Object.entries(tensors).filter(([k]) => !gone.includes(k))), { format: 'pt' })
  const loaded = await Swift.fromPretrained(await base(), dir, { inferenceMode: false }) as SwiftModel
  t.deepEqual(loaded.loadReports[0].missing.sort(), gone.sort())
  const own = () => loaded.namedParameters().filter(p => p.name.includes('layers.2.self_attn.q_proj.lora_')).map(p => numbers(loaded.parameter(p.name)))
  const before = own()
  t.true(before.every(v => v.some(x => x !== 0)))
  // Magnitudes come from the base weight of that moment, not of a later one.
  const weight = loaded.namedParameters().find(p => p.name.endsWith('layers.2.self_attn.q_proj.base_layer.weight'))!
  loaded.loadStateDict({ [weight.name]: loaded.parameter(weight.name).mul(2) }, { strict: false })
  t.deepEqual(own(), before)
  const optimizer = new AdamW(loaded.parameters(), { lr: 0.1 })
  await (await loaded.forward({ inputIds: IDS, labels: IDS })).loss!.backward()
  await optimizer.step()
  own().forEach((after, i) => t.true(gap(after, before[i]) > 0.01))
})

test('a LoRA that comes after a Part trains in the copy, too, and is saved and loaded with it', async t => {
  const targets = (tuned: Model) => tuned.namedParameters().filter(p => p.name.includes('lora_A')).map(p => p.name)
  const config = () => ({ part: new PartConfig({ targetModules: '.*layers\\.1\\.self_attn' }), lora: new LoRAConfig({ r: 2, targetModules: ['q_proj'], initLoraWeights: false }) })
  const model = await Swift.prepareModel(await base('llama'), config(), { seed: 3 }) as SwiftModel
  const inside = targets(model).filter(name => name.includes('_part_part.q_proj'))
  t.is(inside.length, 1, targets(model).join())
  const inputs = { inputIds: [[3, 1, 4, 1, 5]], labels: [[3, 1, 4, 1, 5]] }
  await (await model.forward(inputs)).loss!.backward()
  t.truthy(model.gradient(inside[0]))
  const dir = temp()
  await model.savePretrained(dir)
  const again = await Swift.fromPretrained(await base('llama'), dir, { strict: true })
  t.deepEqual(numbers((await again.eval().forward(inputs)).logits!), numbers((await model.eval().forward(inputs)).logits!))
})
