/**
 * `npm run test:python`: files written here give the same logits in Python's PEFT and SWIFT. Needs a Python with torch, peft and
 * transformers (`PYTHON`, default python3), and ms-swift for SWIFT's files; says what was skipped where they are missing.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './setup.mjs'

const {
  AdamW, AdapterConfig, AutoModel, HRAConfig, IA3Config, LLaMAProConfig, LoHaConfig, LongLoRAConfig, LoRAConfig, LoraConfig, PartConfig, PeftConfig, PromptConfig, ResTuningConfig, SCETuningConfig,
  SideConfig, Swift, Tensor, VeraConfig, writeSafetensors,
} = createRequire(import.meta.url)(join(root, 'dist/index.js'))
const python = process.env.PYTHON ?? 'python3'
const probe = modules => spawnSync(python, ['-c', `import ${modules}`], { encoding: 'utf8' })
const why = found => (found.stderr ?? String(found.error)).trim().split('\n').at(-1)
const needed = probe('torch, peft, transformers')
if (needed.status !== 0) {
  console.log(`skipped: ${python} lacks torch, peft or transformers (${why(needed)})`)
  process.exit(0)
}
const swift = probe('swift.tuners')
if (swift.status !== 0) console.log(`SWIFT's files are skipped: ${python} lacks ms-swift (${why(swift)})`)

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
  ['peft', 'llama', new HRAConfig({ taskType: 'CAUSAL_LM', ...targets, r: 4, initWeights: false }), {}],
  ['peft', 'llama', new HRAConfig({ taskType: 'CAUSAL_LM', ...targets, r: 4, initWeights: false, applyGS: true }), {}],
  ['peft', 'unet2d', new HRAConfig({ targetModules: ['conv1', 'to_q'], r: 4 }), {}],
  ['peft', 'llama', new IA3Config({ taskType: 'CAUSAL_LM', initIa3Weights: false }), {}],
  ['peft', 'gpt2', new IA3Config({ taskType: 'CAUSAL_LM' }), { safeSerialization: false }],
  ['peft', 'unet2d', new IA3Config({ targetModules: ['conv1', 'to_q'], feedforwardModules: ['to_q'] }), {}],
  ['peft', 'llama', new LoHaConfig({ taskType: 'CAUSAL_LM', ...targets, r: 4, initWeights: false }), {}],
  ['peft', 'unet2d', new LoHaConfig({ targetModules: ['conv1', 'to_q'], r: 3, useEffectiveConv2d: true, initWeights: false }), {}],
  ['peft', 'llama', new VeraConfig({ taskType: 'CAUSAL_LM', ...targets, r: 8 }), {}],
  ['peft', 'llama', new VeraConfig({ taskType: 'CAUSAL_LM', ...targets, r: 8, saveProjection: false, projectionPrngKey: 11, initWeights: false }), {}],
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
// Every type of PEFT's: the configurations of the reference cases, started anew.
const folder = join(root, '__test__/fixtures/peft')
const bases = ['llama', 'llama-tied-bias', 'gpt2', 'gemma3', 'qwen2', 'mistral', 'qwen3', 'phi3', 'qwen3-moe', 'bert-classifier', 'roberta-classifier']
/** What cannot give the same there, and why. */
const UNEQUAL = {
  'frod-basic': 'Python computes U anew from the base, with the signs of its own decomposition, and not from the V of the file',
  'init-pissa_niter_4': 'Python draws its random vectors anew, so that the residual weights are others',
  'prefix_tuning-classifier': 'PEFT refuses prefixes on this encoder',
  'prefix_tuning-classifier-projection': 'PEFT refuses prefixes on this encoder',
}
for (const name of readdirSync(folder)) {
  const { base, adapters } = JSON.parse(readFileSync(join(folder, name, 'case.json'), 'utf8'))
  const [config, ...more] = Object.values(adapters ?? {})
  if (UNEQUAL[name]) {
    console.log(`skipped: ${name} (${UNEQUAL[name]})`)
    continue
  }
  // X-LoRA's experts are folders of their own.
  if (more.length > 0 || !bases.includes(base) || config?.peft_type === 'XLORA') continue
  cases.push(['peft', base, PeftConfig.fromJSON({ ...config, inference_mode: false }), {}, name])
}
const TASKS = ['POLY', 'MULTITASK_PROMPT_TUNING']
const plan = []
for (const [i, [kind, name, config, options, label]] of cases.entries()) {
  if (kind === 'swift' && swift.status !== 0) continue
  const base = await AutoModel.fromPretrained(join(models, name), { dtype: 'f32' })
  const named = { ...inputsOf(name), ...(TASKS.includes(config.peftType) ? { task_ids: Tensor.from([1, 0], undefined, { dtype: 'i64' }) } : {}) }
  const inputs = Object.fromEntries(Object.entries(named).map(([k, v]) => [camel(k), v]))
  let model
  try {
    model = await Swift.prepareModel(base, kind === 'peft' ? config : { default: config }, { seed: i })
  } catch (error) {
    // Reference cases that start from a file or a folder.
    if (!label) throw error
    console.log(`skipped: ${label} (${error.message})`)
    continue
  }
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
  plan.push({ name: `${kind} ${config.swiftType ?? config.peftType} ${name} ${label ?? `#${i}`}`, kind, base: join(models, name), dir, expected: join(out, `${i}.safetensors`) })
}
writeFileSync(join(out, 'plan.json'), JSON.stringify(plan))
const result = spawnSync(python, [join(root, 'scripts/roundtrip.py'), join(out, 'plan.json')], { stdio: 'inherit', env: { ...process.env, USE_HF: '1', HF_HUB_OFFLINE: '1', LOG_LEVEL: 'ERROR' } })
process.exit(result.status ?? 1)
