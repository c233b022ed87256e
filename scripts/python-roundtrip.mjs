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

const { AdamW, AutoModel, LoRAConfig, LoraConfig, Swift, Tensor, writeSafetensors } = createRequire(import.meta.url)(join(root, 'dist/index.js'))
const python = process.env.PYTHON ?? 'python3'
const probe = spawnSync(python, ['-c', 'import torch, peft, transformers, swift.tuners'], { encoding: 'utf8' })
if (probe.status !== 0) {
  console.log(`skipped: ${python} lacks torch, peft, transformers or ms-swift (${(probe.stderr ?? String(probe.error)).trim().split('\n').at(-1)})`)
  process.exit(0)
}

const models = join(root, '__test__/fixtures/models')
const out = mkdtempSync(join(tmpdir(), 'swift-tuners-python-'))
const inputIds = [[5, 9, 2, 77, 31, 4], [8, 1, 150, 3, 3, 60]]
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
]
const plan = []
for (const [i, [kind, name, config, options]] of cases.entries()) {
  const base = await AutoModel.fromPretrained(join(models, name), { dtype: 'f32' })
  const model = await Swift.prepareModel(base, kind === 'peft' ? config : { default: config }, { seed: i })
  // Two steps, so that nothing is at its start.
  const optimizer = new AdamW(model.parameters(), { lr: 0.02 })
  for (let step = 0; step < 2; step++) {
    optimizer.zeroGrad()
    await (await model.forward({ inputIds, labels: inputIds })).loss.backward()
    await optimizer.step()
  }
  const { logits } = await model.eval().forward({ inputIds })
  const dir = join(out, String(i))
  await model.savePretrained(dir, { ...options, ...(kind === 'peftFormat' ? { peftFormat: true } : {}) })
  if (kind === 'converted') await Swift.saveToPeftFormat(dir, dir)
  await writeSafetensors(join(out, `${i}.safetensors`), { logits, ids: Tensor.from(inputIds, undefined, { dtype: 'i64' }) })
  plan.push({ name: `${kind} ${name} #${i}`, kind, base: join(models, name), dir, expected: join(out, `${i}.safetensors`) })
}
writeFileSync(join(out, 'plan.json'), JSON.stringify(plan))
const result = spawnSync(python, [join(root, 'scripts/roundtrip.py'), join(out, 'plan.json')], { stdio: 'inherit', env: { ...process.env, USE_HF: '1', HF_HUB_OFFLINE: '1' } })
process.exit(result.status ?? 1)
