/**
 * `npm run test:python`: files written here give the same logits in Python's PEFT and SWIFT. Needs a Python with torch, peft,
 * transformers and ms-swift (`PYTHON`, default python3); says that it was skipped where they are missing.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './setup.mjs'

const {
  AdamW, AdapterConfig, AutoModel, LLaMAProConfig, LongLoRAConfig, LoRAConfig, LoraConfig, PartConfig, PromptConfig, ResTuningConfig, SCETuningConfig,
  SideConfig, Swift, Tensor, writeSafetensors,
} = createRequire(import.meta.url)(join(root, 'dist/index.js'))
const python = process.env.PYTHON ?? 'python3'
const probe = spawnSync(python, ['-c', 'import torch, peft, transformers, swift.tuners'], { encoding: 'utf8' })
if (probe.status !== 0) {
  console.log(`skipped: ${python} lacks torch, peft, transformers or ms-swift (${(probe.stderr ?? String(probe.error)).trim().split('\n').at(-1)})`)
  process.exit(0)
}

const models = join(root, '__test__/fixtures/models')
const out = mkdtempSync(join(tmpdir(), 'swift-tuners-python-'))
const inputIds = [[5, 9, 2, 77, 31, 4], [8, 1, 150, 3, 3, 60]]
const noise = (...shape) => Tensor.from(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => Math.random() - 0.5), shape)
const ids = Tensor.from(inputIds, undefined, { dtype: 'i64' })
/** What a model takes, under Python's names. */
const inputsOf = name => {
  if (name === 'vit') return { pixel_values: noise(2, 3, 32, 32) }
  if (name === 'unet2d') return { sample: noise(2, 4, 8, 8), timestep: Tensor.from([10, 500], undefined, { dtype: 'i64' }), encoder_hidden_states: noise(2, 5, 32) }
  return { input_ids: ids }
}
const camel = name => name.replace(/_(.)/g, (_, c) => c.toUpperCase())
const lora = { r: 4, loraAlpha: 12, initLoraWeights: false }
const peft = { ...lora, taskType: 'CAUSAL_LM' }
const targets = { targetModules: ['q_proj', 'v_proj'] }
const cases = [
  ['swift', 'llama', new LoRAConfig({ ...lora, ...targets }), {}],
  ['swift', 'llama', new LoRAConfig({ ...lora, targetModules: 'all-linear', useRslora: true }), {}],
  ['swift', 'llama', new LoRAConfig({ ...lora, ...targets, useDora: true }), {}],
  ['swift', 'gpt2', new LoRAConfig({ ...lora, targetModules: ['c_attn'] }), {}],
  ['swift', 'llama-tied-bias', new LoRAConfig({ ...lora, ...targets, bias: 'all' }), {}],
  ['converted', 'llama', new LoRAConfig({ ...lora, ...targets }), {}],
  ['converted', 'llama', new LoRAConfig({ ...lora, ...targets, useDora: true }), {}],
  ['peftFormat', 'llama', new LoRAConfig({ ...lora, targetModules: ['embed_tokens', 'q_proj'] }), {}],
  ['peft', 'llama', new LoraConfig({ ...peft, ...targets }), {}],
  ['peft', 'llama', new LoraConfig({ ...peft, ...targets }), { safeSerialization: false }],
  ['peft', 'llama', new LoraConfig({ ...peft, ...targets, useDora: true }), {}],
  ['peft', 'llama', new LoraConfig({ ...peft, targetModules: ['embed_tokens'], initLoraWeights: true }), {}],
  ['peft', 'llama-tied-bias', new LoraConfig({ ...peft, ...targets, loraBias: true }), {}],
  ['peft', 'llama-tied-bias', new LoraConfig({ ...peft, ...targets, bias: 'all' }), {}],
  ['peft', 'llama', new LoraConfig({ ...peft, ...targets, initLoraWeights: 'pissa' }), {}],
  ['peft', 'llama', new LoraConfig({ ...peft, ...targets, modulesToSave: ['lm_head'] }), {}],
  ['swift', 'phi3', new LongLoRAConfig({ r: 4, targetModules: ['qkv_proj'], modelType: null }), {}],
  ['swift', 'llama', new AdapterConfig({ dim: 64, targetModules: ['mlp'], adapterLength: 6 }), {}],
  ['swift', 'bert-classifier', new AdapterConfig({ dim: 64, targetModules: '.*layer\\.\\d+$', hiddenPos: 0, methodName: 'feed_forward_chunk', adapterLength: 5 }), {}],
  ['swift', 'llama', new PromptConfig({ dim: 64, targetModules: 'model\\.layers\\.[1-3]', embeddingPos: 0, promptLength: 2 }), {}],
  ['swift', 'vit', new PromptConfig({ dim: 64, targetModules: 'vit\\.layers\\.\\d+', embeddingPos: 0, promptLength: 3, attachFront: false }), {}],
  ['swift', 'llama', new SideConfig({ dim: 64, targetModules: '.*\\.[02]\\.mlp', sideModuleName: 'mlp' }), {}],
  ['swift', 'vit', new SideConfig({ dim: 5, targetModules: '', sideModuleName: 'fcn4', sourceHiddenPos: 'pixel_values', targetHiddenPos: 'logits' }), {}],
  ['swift', 'vit', new ResTuningConfig({ dims: 64, rootModules: '.*vit\\.layers\\.0$', stemModules: '.*vit\\.layers\\.\\d+$', targetModules: '.*vit\\.layernorm', targetModulesHook: 'input', tunerCfg: 'res_adapter' }), {}],
  ['swift', 'unet2d', new ResTuningConfig({
    dims: [64, 64, 32], rootModules: 'mid_block', stemModules: ['mid_block', 'up_blocks.0', 'up_blocks.1'], targetModules: 'conv_norm_out', targetModulesHook: 'input',
    tunerCfg: 'res_group_adapter', useUpsample: true, upsampleOutChannels: [64, 32, null],
  }), {}],
  ['swift', 'unet2d', new SCETuningConfig({
    dims: [64, 32, 32, 32], targetModules: ['up_blocks.0.resnets.0', 'up_blocks.0.resnets.1', 'up_blocks.1.resnets.0', 'up_blocks.1.resnets.1'], downRatio: 0.5,
  }), {}],
  ['swift', 'unet2d', new LoRAConfig({ ...lora, targetModules: ['conv1', 'to_q'] }), {}],
  ['swift', 'vit', new SCETuningConfig({ dims: 64, targetModules: 'vit\\.layers\\.\\d+', tunerMode: 'identity' }), {}],
  ['swift', 'bert-classifier', new PartConfig({ targetModules: '.*(query|key|value).*' }), {}],
  ['swift', 'qwen2', new LLaMAProConfig({ modelType: 'llama', numNewBlocks: 2 }), {}],
  ['swift', 'gemma3', new LoRAConfig({ ...lora, ...targets }), {}],
  ['swift', 'qwen3-moe', new LoRAConfig({ ...lora, ...targets }), {}],
]
const plan = []
for (const [i, [kind, name, config, options]] of cases.entries()) {
  const base = await AutoModel.fromPretrained(join(models, name), { dtype: 'f32' })
  const named = inputsOf(name)
  const inputs = Object.fromEntries(Object.entries(named).map(([k, v]) => [camel(k), v]))
  const model = await Swift.prepareModel(base, kind === 'peft' ? config : { default: config }, { seed: i })
  // Two steps, so that nothing is at its start.
  const optimizer = new AdamW(model.parameters(), { lr: 0.02 })
  for (let step = 0; step < 2; step++) {
    optimizer.zeroGrad()
    const o = await model.forward(inputs)
    await (o.logits ?? o.sample).sqr().mean().backward()
    await optimizer.step()
  }
  const { logits, sample } = await model.eval().forward(inputs)
  const dir = join(out, String(i))
  await model.savePretrained(dir, { ...options, ...(kind === 'peftFormat' ? { peftFormat: true } : {}) })
  if (kind === 'converted') await Swift.saveToPeftFormat(dir, dir)
  await writeSafetensors(join(out, `${i}.safetensors`), { expected: logits ?? sample, ...named })
  plan.push({ name: `${kind} ${config.swiftType ?? config.peftType} ${name} #${i}`, kind, base: join(models, name), dir, expected: join(out, `${i}.safetensors`) })
}
writeFileSync(join(out, 'plan.json'), JSON.stringify(plan))
const result = spawnSync(python, [join(root, 'scripts/roundtrip.py'), join(out, 'plan.json')], { stdio: 'inherit', env: { ...process.env, USE_HF: '1', HF_HUB_OFFLINE: '1', LOG_LEVEL: 'ERROR' } })
process.exit(result.status ?? 1)
