/** What PEFT's users do with the adapters of a model beside training them: swap, rename, look, mix, unload. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification, getLayerStatus, getModelStatus, getPeftModelStateDict, hotswapAdapter, IA3Config,
  LoHaConfig, LoraConfig, type Model, PeftConfig, PeftModel, PrefixTuningConfig, rescaleAdapterScale, setPeftModelStateDict, Swift, VeraConfig,
} from '../index.js'
import { base, failsWith, fixtures, gap, IDS, logits, readJson, temp } from './support.js'

const lora = (fields: object = {}) => new LoraConfig({ r: 4, targetModules: ['q_proj', 'v_proj'], initLoraWeights: false, ...fields })
const prepared = async (config: PeftConfig, options: object = {}) => (await Swift.prepareModel(await base(), config, options)).eval() as PeftModel

/** A folder with an adapter, and what a model gives with it. */
async function saved(config: PeftConfig, seed = 5): Promise<[string, number[]]> {
  const [model, dir] = [await prepared(config, { seed }), temp()]
  await model.savePretrained(dir)
  return [dir, await logits(model)]
}

test('hot swapping puts another adapter in place: of another rank, other targets, another type', async t => {
  for (const config of [lora(), lora({ r: 7, loraAlpha: 3 }), lora({ targetModules: ['o_proj', 'up_proj'], useDora: true }), new LoHaConfig({ targetModules: ['q_proj'], initWeights: false })]) {
    const [dir, expected] = await saved(config)
    const model = await prepared(lora())
    await model.addAdapter('other', lora({ r: 2 }))
    t.true(gap(await logits(model), expected) > 1e-3)
    await hotswapAdapter(model, dir, 'default')
    t.deepEqual(await logits(model), expected)
    t.deepEqual([...model.peftConfig.keys()], ['default', 'other'])
    t.deepEqual([...model.activeAdapters], ['default'])
    t.is(model.peftConfig.get('default')!.peftType, config.peftType)
  }
})

test('a running generation whose adapter goes ends with an error, and a swap that fails leaves no trace', async t => {
  const [dir] = await saved(lora({ r: 3 }))
  const model = await prepared(lora())
  const running = model.generate({ inputIds: [IDS[0]] }, { maxNewTokens: 12, eosTokenId: [] })
  t.false((await running.next()).done)
  await hotswapAdapter(model, dir, 'default')
  await failsWith(t, 'ERR_INVALID_STATE', () => running.next())
  const gone = model.generate({ inputIds: [IDS[0]] }, { maxNewTokens: 12, eosTokenId: [] })
  await gone.next()
  await model.addAdapter('other', lora())
  t.false((await gone.next()).done, 'what others do is no matter')
  model.deleteAdapter('default')
  await failsWith(t, 'ERR_INVALID_STATE', () => gone.next())
  await hotswapAdapter(model, dir, 'other')
  model.renameAdapter('other', 'default')
  model.setAdapter('default')

  const now = await logits(model)
  const broken = temp()
  cpSync(dir, broken, { recursive: true })
  writeFileSync(join(broken, 'adapter_model.safetensors'), readFileSync(join(dir, 'adapter_model.safetensors')).subarray(0, 900))
  await failsWith(t, 'ERR_CHECKPOINT_CORRUPT', () => hotswapAdapter(model, broken, 'default'))
  await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', () => hotswapAdapter(model, dir, 'nobody'))
  await Swift.merge(model)
  await failsWith(t, 'ERR_INVALID_STATE', () => hotswapAdapter(model, dir, 'default'))
  await Swift.unmerge(model)
  t.deepEqual(await logits(model), now)
})

test('a renamed adapter has its new name in memory, on disk and wherever names are given', async t => {
  const model = await prepared(lora(), { adapterName: 'first' })
  await model.addAdapter('second', lora({ r: 2 }))
  const output = await logits(model)
  model.renameAdapter('first', 'house')
  t.deepEqual([...model.peftConfig.keys()], ['house', 'second'])
  t.deepEqual([...model.activeAdapters], ['house'])
  t.deepEqual(await logits(model), output)
  t.true(model.namedParameters().some(p => p.name.endsWith('lora_A.house.weight')))
  t.false(model.namedParameters().some(p => p.name.includes('.first.')))
  const rows = await model.forward({ inputIds: IDS, adapterNames: ['house', 'second'] })
  t.truthy(rows.logits)
  const dir = temp()
  await model.savePretrained(dir)
  t.deepEqual(await logits((await PeftModel.fromPretrained(await base(), join(dir, 'house'))).eval()), output)
  for (const [from, to, code] of [['first', 'x', 'ERR_ADAPTER_NOT_FOUND'], ['house', 'second', 'ERR_ADAPTER_EXISTS'], ['house', 'SECOND', 'ERR_INVALID_CONFIG'], ['house', 'a/b', 'ERR_INVALID_CONFIG']]) {
    await failsWith(t, code, () => model.renameAdapter(from, to))
  }
})

test('layer and model status say what stands where', async t => {
  const model = await prepared(lora({ targetModules: ['q_proj', 'embed_tokens'], modulesToSave: ['lm_head'] }))
  await model.addAdapter('other', lora({ targetModules: ['q_proj'] }))
  const layers = getLayerStatus(model)
  t.deepEqual(layers, model.getLayerStatus())
  t.deepEqual(layers[0], {
    name: 'model.model.embed_tokens', moduleType: 'lora.Embedding', enabled: true, activeAdapters: ['default'], mergedAdapters: [], requiresGrad: { default: true },
    availableAdapters: ['default'], devices: { default: ['cpu'] }, quantizationBackend: null,
  })
  const query = layers.find(l => l.name === 'model.model.layers.0.self_attn.q_proj')!
  t.is(query.moduleType, 'lora.Linear')
  t.deepEqual(query.requiresGrad, { default: true, other: false })
  t.true(layers.some(l => l.name === 'model.lm_head'))

  const status = getModelStatus(model)
  t.is(status.baseModelType, 'LlamaForCausalLM')
  t.deepEqual(status.peftTypes, { default: 'LORA', other: 'LORA' })
  t.is(status.numAdapterLayers, layers.length)
  const { trainable, all } = model.getNbTrainableParameters()
  t.is(status.trainableParams, trainable)
  t.is(status.totalParams, all)
  t.is(model.getTrainableParameters(), `trainable params: ${trainable.toLocaleString('en')} || all params: ${all.toLocaleString('en')} || trainable%: ${(100 * trainable / all).toFixed(4)}|| cuda memory: 0.00GiB.`)
  t.deepEqual(status.requiresGrad, { default: true, other: false })

  model.setRequiresGrad(model.namedParameters().find(p => p.name.includes('lora_A.default'))!.name, false)
  t.is(getModelStatus(model).requiresGrad.default, 'irregular')
  const plain = await prepared(lora())
  await Swift.merge(plain)
  t.deepEqual(getModelStatus(plain).mergedAdapters, ['default'])
  await failsWith(t, 'ERR_INVALID_STATE', async () => getLayerStatus(await prepared(new PrefixTuningConfig({ numVirtualTokens: 3 }))))
})

test('adapters of different types run together, apart, and come back from disk', async t => {
  const kinds: Record<string, PeftConfig> = {
    lora: lora(), ia3: new IA3Config({ targetModules: ['k_proj', 'down_proj'], feedforwardModules: ['down_proj'], initIa3Weights: false }),
    loha: new LoHaConfig({ r: 2, targetModules: ['q_proj'], initWeights: false }), vera: new VeraConfig({ r: 4, targetModules: ['v_proj'] }),
  }
  const alone: Record<string, number[]> = {}
  const [model, folders] = [await Swift.prepareModel(await base(), kinds.lora, { adapterName: 'lora' }), temp()]
  for (const [name, config] of Object.entries(kinds).slice(1)) await model.addAdapter(name, config)
  model.eval()
  for (const name of Object.keys(kinds)) {
    model.setAdapter(name)
    alone[name] = await logits(model)
  }
  model.setAdapter(['lora', 'ia3', 'loha'])
  const together = await logits(model)
  t.true(Object.values(alone).every(one => gap(one, together) > 1e-4))
  await Swift.merge(model)
  t.true(gap(await logits(model), together) < 1e-4)
  await Swift.unmerge(model)
  t.deepEqual(await logits(model), together)
  const training = await model.train().forward({ inputIds: IDS, labels: IDS })
  await training.loss!.backward()
  for (const name of ['lora', 'ia3', 'loha']) t.true(model.parameters().some(p => p.name.includes(`.${name}`) && p.grad), name)
  await model.eval().savePretrained(folders)
  const again = await PeftModel.fromPretrained(await base(), join(folders, 'lora'), { adapterName: 'lora' })
  for (const name of ['ia3', 'loha', 'vera']) await again.loadAdapter(join(folders, name), name)
  again.setAdapter(['lora', 'ia3', 'loha'])
  t.deepEqual(await logits(again.eval()), together)
  again.setAdapter('vera')
  t.deepEqual(await logits(again), alone.vera)
})

test('unloading gives the base back, and disabling gives its outputs for a while', async t => {
  const plain: Model = await base()
  const before = await logits(plain)
  const model = await prepared(lora({ targetModules: 'all-linear' }))
  t.is(model.activeAdapter, 'default')
  t.is(model.activePeftConfig!.peftType, 'LORA')
  const tuned = await logits(model)
  t.deepEqual(await model.disableAdapter(() => logits(model)), before)
  t.deepEqual(await logits(model), tuned)
  const back = await model.unload()
  t.deepEqual(await logits(back), before)
  t.deepEqual(back.namedParameters().map(p => p.name), plain.namedParameters().map(p => p.name))
  t.true((await Swift.prepareModel(back, lora({ r: 2 }))).parameters().length > 0)
})

test('scalings are multiplied for a while, and what trains is chosen by adapter', async t => {
  const model = await prepared(lora())
  const full = await logits(model), none = await model.disableAdapter(() => logits(model))
  const half = await rescaleAdapterScale(model, 0.5, () => logits(model))
  t.true(gap(half, full) > 1e-3 && gap(half, none) > 1e-3)
  t.deepEqual(await rescaleAdapterScale(model, 0, () => logits(model)), none)
  t.deepEqual(await logits(model), full)
  await t.throwsAsync(rescaleAdapterScale(model, 2, () => Promise.reject(new Error('mine'))), { message: 'mine' })
  t.deepEqual(await logits(model), full)
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => rescaleAdapterScale(model, NaN, () => 0))
  await failsWith(t, 'ERR_UNSUPPORTED_TUNER', async () => rescaleAdapterScale(await prepared(new IA3Config({})), 2, () => 0))

  const trained = () => model.parameters().length
  const all = trained()
  model.setRequiresGrad('default', false)
  t.is(trained(), 0)
  model.setRequiresGrad(['default'], true)
  t.is(trained(), all)
  await model.addAdapter('other', lora())
  model.setAdapter('other', { inferenceMode: true })
  t.is(trained(), 0)
  await model.mergeAdapter()
  t.deepEqual(getModelStatus(model).mergedAdapters, ['other'])
  await model.unmergeAdapter()
  await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', () => model.setRequiresGrad(['nobody'], true))
})

test('tensors of an adapter go out and in by the names that files have', async t => {
  const model = await prepared(lora())
  const state = getPeftModelStateDict(model)
  const names = Object.keys(state)
  t.true(names.length > 0 && names.every(n => /^base_model\.model\.model\.layers\.\d\.self_attn\.[qv]_proj\.lora_[AB]\.weight$/.test(n)))
  const other = await prepared(lora(), { adapterName: 'mine', seed: 9 })
  t.true(gap(await logits(other), await logits(model)) > 1e-3)
  await setPeftModelStateDict(other, state, { adapterName: 'mine' })
  t.deepEqual(await logits(other), await logits(model))
  const before = await logits(other)
  await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', () => setPeftModelStateDict(other, { elsewhere: state[names[0]] }, { adapterName: 'mine' }))
  await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', () => setPeftModelStateDict(other, { ...state, [names[0]]: state[names[1]] }, { adapterName: 'mine' }))
  await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', () => setPeftModelStateDict(other, state))
  t.deepEqual(await logits(other), before)
})

test('an adapter knows its base: AutoPeftModel loads both', async t => {
  const dir = temp()
  const model = await prepared(lora({ taskType: 'CAUSAL_LM', targetModules: 'all-linear' }))
  await model.savePretrained(dir)
  const config = readJson(join(dir, 'adapter_config.json'))
  t.is(config.base_model_name_or_path, join(fixtures, 'models/llama'))
  t.regex(config.peft_version, /^0\.\d+\.\d+$/)
  t.deepEqual([...config.target_modules].sort(), ['down_proj', 'gate_proj', 'k_proj', 'o_proj', 'q_proj', 'up_proj', 'v_proj'])
  t.regex(readFileSync(join(dir, 'README.md'), 'utf8'), /^---\nbase_model: .*\nlibrary_name: peft\npipeline_tag: text-generation\n/)
  const again = await AutoPeftModelForCausalLM.fromPretrained(dir, { dtype: 'f32' })
  t.deepEqual(await logits(again.eval()), await logits(model))
  t.is((await PeftConfig.fromPretrained(dir)).peftType, 'LORA')
  await failsWith(t, 'ERR_INVALID_CONFIG', () => AutoPeftModelForSequenceClassification.fromPretrained(dir))
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify({ ...config, base_model_name_or_path: null }))
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => AutoPeftModelForCausalLM.fromPretrained(dir))).message, /PeftModel\.fromPretrained/)
})
