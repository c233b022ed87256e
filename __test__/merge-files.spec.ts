/** Merging file to file must give the bytes that merging in memory gives. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AdapterConfig, AutoModel, LoRAConfig, LoraConfig, type Model, type PeftModel, Swift, type SwiftConfig, type PeftConfig, type SwiftModel } from '../index.js'
import { base, copyOf, failsWith, fixtures, gap, logits, lora, randomTensor, rng, snapshot, temp } from './support.js'

const modelAt = (name: string) => join(fixtures, 'models', name)

/** Random values wherever the adapters have some, so that nothing starts as doing nothing. */
function stir(model: Model): void {
  const next = rng(11)
  const own = model.namedParameters().filter(p => p.requiresGrad)
  model.loadStateDict(Object.fromEntries(own.map(p => [p.name, randomTensor(p.shape, next, 0.2)])), { strict: false })
}

const CASES: [string, string, SwiftConfig | PeftConfig | Record<string, SwiftConfig>][] = [
  ['two adapters', 'llama', { a: lora(), b: lora({ targetModules: ['q_proj', 'down_proj', 'embed_tokens'], useRslora: true }) }],
  ['DoRA and a copy of a module', 'llama', lora({ useDora: true, modulesToSave: ['lm_head'] })],
  ['weights that lie [in, out], and an embedding that is tied', 'gpt2', lora({ targetModules: ['c_attn', 'c_fc', 'wte'] })],
  ['a PeftModel with a bias of B', 'bert-classifier', new LoraConfig({ r: 2, targetModules: ['query', 'value'], loraBias: true, taskType: 'SEQ_CLS' })],
  ['biases that train with the adapter', 'bert', new LoraConfig({ r: 2, targetModules: ['query'], bias: 'all' })],
  ['an initialisation that changes the base', 'llama', lora({ initLoraWeights: 'pissa', targetModules: ['o_proj'] })],
  ['both ends of a tied embedding', 'llama-tied-bias', lora({ targetModules: ['embed_tokens', 'lm_head', 'k_proj'] })],
  ['experts that files keep apart', 'qwen3-moe', lora({ targetModules: ['q_proj', 'o_proj'] })],
  ['convolutions', 'unet2d', lora({ targetModules: ['conv1', 'to_q'] })],
]

for (const [what, name, config] of CASES) {
  for (const [format, options] of [['safetensors', { maxShardSize: '40KB' }], ['bin', { safeSerialization: false }]] as const) {
    test(`${what}: ${format}`, async t => {
      const model = await (Swift.prepareModel as (m: Model, c: unknown) => Promise<SwiftModel | PeftModel>)(await base(name), config)
      stir(model)
      const adapters = join(temp(), 'adapters')
      await model.savePretrained(adapters)
      // What Python does: load, merge, save.
      const loaded = await Swift.fromPretrained(await AutoModel.fromPretrained(modelAt(name)), adapters)
      const before = snapshot(adapters)
      const [live, merged, plain] = [temp(), temp(), temp()]
      const state = loaded.namedParameters().map(p => [p.name, p.requiresGrad])
      await Swift.saveMerged(loaded, live, options)
      t.deepEqual(loaded.namedParameters().map(p => [p.name, p.requiresGrad]), state)
      await Swift.mergeAndUnload(loaded)
      const result = loaded.baseModel as Model
      await result.savePretrained(plain, options)
      await Swift.mergeFiles(modelAt(name), adapters, merged, options)
      const [expected, found, saved] = [snapshot(plain), snapshot(merged), snapshot(live)]
      const weights = Object.keys(expected).filter(f => !f.endsWith('.json'))
      t.true(weights.length >= 1)
      for (const file of weights) {
        t.true(expected[file] === found[file], `${file} of mergeFiles`)
        t.true(expected[file] === saved[file], `${file} of saveMerged`)
      }
      for (const file of Object.keys(expected)) t.true(file in found, file)
      t.deepEqual(snapshot(adapters), before)
      t.true(gap(await output(await AutoModel.fromPretrained(merged)), await output(result)) === 0)
    })
  }
}

async function output(model: Model): Promise<number[]> {
  if (model.config._diffusers_version !== undefined || 'down_block_types' in model.config) return Array.from(model.parameter(model.namedParameters()[0].name).dataSync() as Float32Array)
  return logits(model)
}

test('half-precision models keep their type, or get another', async t => {
  const half = temp()
  await (await AutoModel.fromPretrained(modelAt('llama'), { dtype: 'bf16' })).savePretrained(half)
  const model = await Swift.prepareModel(await AutoModel.fromPretrained(half, { dtype: 'bf16' }), lora())
  stir(model)
  const adapters = temp()
  await model.savePretrained(adapters)
  const [kept, wide, plain] = [temp(), temp(), temp()]
  await Swift.mergeFiles(half, adapters, kept, { dtype: 'bf16' })
  await Swift.mergeFiles(half, adapters, wide, { dtype: 'f32' })
  await Swift.mergeAndUnload(model)
  await (model.baseModel as Model).savePretrained(plain)
  t.is(snapshot(kept)['model.safetensors'], snapshot(plain)['model.safetensors'])
  t.true((await AutoModel.fromPretrained(wide, { dtype: 'f32' })).namedParameters().every(p => p.dtype === 'f32'))
})

test('tokenizer and settings come along, adapters can be chosen and renamed', async t => {
  const source = copyOf(modelAt('llama'))
  writeFileSync(join(source, 'tokenizer.json'), '{}')
  writeFileSync(join(source, 'chat_template.jinja'), 'x')
  writeFileSync(join(source, 'notes.exe'), 'x')
  const model = await Swift.prepareModel(await base(), { a: lora(), b: lora({ targetModules: ['o_proj'] }) })
  const adapters = temp()
  await model.savePretrained(adapters)
  const [out, one] = [temp(), temp()]
  await Swift.mergeFiles(source, adapters, out, { adapterName: { b: 'c' } })
  t.true(existsSync(join(out, 'tokenizer.json')) && existsSync(join(out, 'chat_template.jinja')) && !existsSync(join(out, 'notes.exe')))
  model.setActiveAdapters('b')
  await Swift.saveMerged(model, one)
  t.is(snapshot(out)['model.safetensors'], snapshot(one)['model.safetensors'])
  await Swift.saveMerged(model, one, { adapterNames: ['a', 'b'] })
  t.not(snapshot(out)['model.safetensors'], snapshot(one)['model.safetensors'])
})

test('what cannot be merged leaves no file', async t => {
  const dir = temp()
  const [out, adapters] = [join(dir, 'out'), join(dir, 'adapters')]
  const model = await Swift.prepareModel(await base(), { a: new AdapterConfig({ dim: 64, targetModules: ['mlp'], adapterLength: 4 }) })
  await model.savePretrained(adapters)
  t.regex((await failsWith(t, 'ERR_UNSUPPORTED_TUNER', () => Swift.mergeFiles(modelAt('llama'), adapters, out))).message, /\ba\b.*ADAPTER/i)
  await failsWith(t, 'ERR_UNSUPPORTED_TUNER', () => Swift.saveMerged(model, out))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.mergeFiles(modelAt('llama'), adapters, adapters))
  const good = await Swift.prepareModel(await base(), lora())
  await good.savePretrained(adapters)
  await failsWith(t, 'ERR_TARGET_NOT_FOUND', () => Swift.mergeFiles(modelAt('bert'), adapters, out))
  await t.throwsAsync(Swift.mergeFiles(modelAt('llama'), adapters, out, { signal: AbortSignal.abort(new Error('stop')) }), { message: 'stop' })
  await Swift.merge(good)
  await failsWith(t, 'ERR_INVALID_STATE', () => Swift.saveMerged(good, out))
  t.deepEqual(readdirSync(dir), ['adapters'])
})

test('LoRA of a merged linear is merged block by block', async t => {
  const model = await Swift.prepareModel(await base('phi3'), new LoRAConfig({ r: 2, targetModules: ['qkv_proj'], useMergedLinear: true, enableLora: [true, false] }))
  stir(model)
  const [live, plain] = [temp(), temp()]
  await Swift.saveMerged(model, live)
  await Swift.mergeAndUnload(model)
  await (model.baseModel as Model).savePretrained(plain)
  t.is(snapshot(live)['model.safetensors'], snapshot(plain)['model.safetensors'])
})
