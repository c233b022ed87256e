import { join } from 'node:path'
import test from 'ava'
import {
  createArrowModel, initializeLoraEvaWeights, LoraConfig, type ModelInputs, PeftModel, preprocessCorda, preprocessLoraga, readSafetensors, Swift, type Tensor,
} from '../index.js'
import { base, failsWith, fixtures, readJson } from './support.js'

/** PEFT's values from the same batches; of decompositions without their signs (crates/tuners/tests/data.rs has all cases). */
async function caseOf(name: string) {
  const dir = join(fixtures, 'data', name)
  const { config, base: model, seed } = readJson(join(dir, 'case.json'))
  const batches: ModelInputs[] = []
  for (const [key, tensor] of Object.entries(await readSafetensors(join(dir, 'batches.safetensors')))) {
    const [at, field] = key.split('.')
    const names: Record<string, keyof ModelInputs> = { input_ids: 'inputIds', attention_mask: 'attentionMask', labels: 'labels' }
    ;(batches[Number(at)] ??= {})[names[field] as 'inputIds'] = tensor
  }
  const expected = await readSafetensors(join(dir, 'expected.safetensors'))
  return { config: LoraConfig.fromJSON(config) as LoraConfig, model: await base(model), batches, expected, seed }
}

const values = (x: Tensor) => Array.from(x.dataSync() as Float32Array, Math.abs)

function close(t: import('ava').ExecutionContext, model: PeftModel, expected: Record<string, Tensor>, tolerance: number) {
  for (const [name, e] of Object.entries(expected)) {
    const [a, b] = [values(model.parameter(name)), values(e)]
    const scale = Math.max(...b)
    t.true(a.length === b.length && a.every((v, i) => Math.abs(v - b[i]) <= tolerance * scale), name)
  }
}

test('gradients over batches are what LoRA-GA starts with', async t => {
  const { config, model, batches, expected, seed } = await caseOf('lora-ga-arb2r')
  await preprocessLoraga(model, config, batches)
  close(t, (await Swift.prepareModel(model, config, { seed })) as unknown as PeftModel, expected, 2e-3)
})

test('CorDA starts with what its batches let through, and with none not at all', async t => {
  const { config, model, batches, expected, seed } = await caseOf('corda-ipm')
  await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.prepareModel(model, config))
  await preprocessCorda(model, config, (async function* () { yield* batches })())
  close(t, (await Swift.prepareModel(model, config, { seed })) as unknown as PeftModel, expected, 5e-3)
})

test('EVA goes round its batches until components have settled', async t => {
  const { config, model, batches, expected, seed } = await caseOf('eva')
  const tuned = (await Swift.prepareModel(model, config, { seed })) as unknown as PeftModel
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => initializeLoraEvaWeights(tuned, []))
  await initializeLoraEvaWeights(tuned, batches)
  close(t, tuned, expected, 1e-4)
  t.truthy(Object.keys(tuned.peftConfig.get('default')!.toJSON().rank_pattern as object).length)
})

test('an arrow model routes tokens through the adapters that it loads', async t => {
  for (const name of ['arrow', 'arrow-gks']) {
    const dir = join(fixtures, 'peft', name)
    const expected = await readSafetensors(join(dir, 'expected.safetensors'))
    const inputs = await readSafetensors(join(dir, 'inputs.safetensors'))
    const folders = (prefix: string, n: number) => Array.from({ length: n }, (_, i) => join(dir, 'checkpoint', `${prefix}_${i}`))
    const gks = name === 'arrow-gks'
    const model = await createArrowModel(await base(), folders('task', 3), { top_k: 2, router_temperature: 0.5, rng_seed: 7, use_gks: gks }, { generalAdapterPaths: folders('gks', gks ? 2 : 0) })
    const out = await model.eval().forward({ inputIds: inputs.input_ids, attentionMask: inputs.attention_mask })
    // The first row has no padding.
    const [a, b] = [values(out.logits!), values(expected['tuned.logits'])]
    const row = a.length / 2
    t.true(a.slice(0, row).every((v, i) => Math.abs(v - b[i]) < 2e-4), name)
    t.deepEqual(model.activeAdapters, ['arrow_router'])
  }
})
