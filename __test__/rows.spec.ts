/** One adapter per row of a batch (PEFT's `adapter_names`). */
import test from 'ava'
import { AdapterConfig, AutoModel, LoRAConfig, LoraConfig, type Model, type ModelInputs, nn, PeftModel, Swift } from '../index.js'
import { base, failsWith, gap, lora, numbers, randomTensor, rng, snapshot, temp } from './support.js'

const IDS = [[5, 9, 2, 77, 31, 4], [8, 1, 150, 3, 3, 60], [5, 9, 2, 77, 31, 4], [9, 9, 1, 1, 2, 2], [7, 3, 3, 12, 80, 1]]
const main = async (model: Model, inputs: ModelInputs) => {
  const o = await model.forward(inputs)
  return numbers((o.logits ?? o.lastHiddenState)!)
}

/** Every row of a mixed batch must be what its adapter gives for that row when it is the only one. */
async function rowsAgree(model: Model, names: string[], inputs: ModelInputs = { inputIds: IDS }): Promise<number> {
  const mixed = await main(model, { ...inputs, adapterNames: names })
  const width = mixed.length / names.length
  let worst = 0
  for (const name of new Set(names)) {
    const alone = await main(model, { ...inputs, adapterNames: names.map(() => name) })
    names.forEach((own, i) => {
      const row = (a: number[]) => a.slice(i * width, (i + 1) * width)
      const off = gap(row(mixed), row(alone))
      // Rows of other adapters must not be the same by chance, or the comparison shows nothing.
      if (own === name) worst = Math.max(worst, off)
      else if (off < 1e-4) worst = Infinity
    })
  }
  return worst
}

test('rows of plain, DoRA, merged-linear and whole-module adapters equal those of each adapter alone', async t => {
  const model = await Swift.prepareModel(await base(), {
    a: lora(),
    b: lora({ r: 2, targetModules: ['o_proj', 'up_proj', 'embed_tokens'] }),
    dora: lora({ targetModules: ['q_proj', 'down_proj'], useDora: true }),
    saved: lora({ targetModules: ['k_proj'], modulesToSave: ['lm_head'] }),
  })
  const next = rng(3)
  const head = model.namedParameters().find(p => p.name.includes('modules_to_save'))!
  model.loadStateDict({ [head.name]: randomTensor(head.shape, next, 0.3) }, { strict: false })
  for (const names of [
    ['a', 'b', 'dora', 'saved', '__base__'], ['b', 'b', '__base__', 'a', 'b'], ['dora', 'a', 'a', 'dora', 'saved'], ['saved', 'saved', 'saved', 'saved', 'a'],
  ]) t.true(await rowsAgree(model, names) < 1e-5, names.join())
  // The whole batch with one name is what activating it gives.
  for (const name of ['a', 'b', 'dora', 'saved']) {
    model.setActiveAdapters(name)
    t.true(gap(await main(model, { inputIds: IDS }), await main(model, { inputIds: IDS, adapterNames: IDS.map(() => name) })) < 1e-6, name)
  }
  t.deepEqual(model.activeAdapters, ['saved'], 'a pass with names changes nothing')
})

test('rows of a merged linear', async t => {
  const model = await Swift.prepareModel(await base('gpt2'), { a: lora({ targetModules: ['c_attn'] }), b: lora({ targetModules: ['c_attn', 'c_proj'] }) })
  t.true(await rowsAgree(model, ['a', 'b', '__base__', 'a', 'b']) < 1e-5)
  const net = await AutoModel.fromModules(nn.sequential({ fused: nn.linear(6, 12) }), { seed: 1 })
  const merged = await Swift.prepareModel(net, { m: new LoRAConfig({ r: 2, targetModules: ['fused'], useMergedLinear: true, enableLora: [true, false, true] }) })
  const next = rng(5)
  const values = Object.fromEntries(merged.namedParameters().filter(p => p.name.includes('lora_B')).map(p => [p.name, randomTensor(p.shape, next)]))
  merged.loadStateDict(values, { strict: false })
  t.true(await rowsAgree(merged, ['m', '__base__', 'm', 'm', '__base__'], { input: randomTensor([5, 6], next) }) < 1e-6)
})

test('each row of a batch generates what it generates alone', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora(), b: lora({ targetModules: ['o_proj', 'down_proj'], loraAlpha: 60 }) })
  const tokens = async (inputs: ModelInputs) => {
    const steps: number[][] = []
    for await (const step of model.generate(inputs, { maxNewTokens: 8, eosTokenId: [] })) steps.push(step)
    return steps[0].map((_, row) => steps.map(s => s[row]))
  }
  const names = ['a', 'b', '__base__', 'b', 'a']
  const together = await tokens({ inputIds: IDS, adapterNames: names })
  for (const [i, name] of names.entries()) t.deepEqual([together[i]], await tokens({ inputIds: [IDS[i]], adapterNames: [name] }), `row ${i}`)
  t.notDeepEqual(together[0], together[2])
})

test('passes with other names run at once without seeing each other', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora(), b: lora({ targetModules: ['o_proj'] }) })
  const sets = [['a', 'b', 'a', 'b', 'a'], ['__base__', 'a', 'a', 'b', 'b'], ['b', 'b', 'b', 'b', '__base__']]
  const alone: number[][] = []
  for (const adapterNames of sets) alone.push(await main(model, { inputIds: IDS, adapterNames }))
  const all = await Promise.all(Array.from({ length: 30 }, (_, i) => main(model, { inputIds: IDS, adapterNames: sets[i % 3] })))
  all.forEach((out, i) => t.true(gap(out, alone[i % 3]) === 0))
})

test('what cannot run by rows is refused, by name, and leaves no trace', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora(), big: new AdapterConfig({ dim: 64, targetModules: ['mlp'], adapterLength: 4 }) })
  const before = await main(model, { inputIds: IDS })
  const call = (adapterNames: unknown) => model.forward({ inputIds: IDS, adapterNames: adapterNames as string[] })
  t.regex((await failsWith(t, 'ERR_INVALID_ARGUMENT', () => call(['a', 'a']))).message, /2 names for a batch of 5/)
  t.regex((await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', () => call(['a', 'a', 'nobody', 'a', 'a']))).message, /nobody/)
  t.regex((await failsWith(t, 'ERR_UNSUPPORTED_TUNER', () => call(['a', 'big', 'a', 'a', 'a']))).message, /big/)
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => call('a'))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => call([1, 2, 3, 4, 5]))
  model.train()
  t.regex((await failsWith(t, 'ERR_INVALID_STATE', () => call(IDS.map(() => 'a')))).message, /eval\(\)/)
  model.eval()
  await Swift.merge(model, { adapterNames: ['a'] })
  t.regex((await failsWith(t, 'ERR_INVALID_STATE', () => call(IDS.map(() => 'a')))).message, /unmerge/)
  await Swift.unmerge(model)
  t.is(gap(await main(model, { inputIds: IDS }), before), 0)
  await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', async () => (await base()).forward({ inputIds: IDS, adapterNames: IDS.map(() => 'a') }))
})

test('a PeftModel takes names, too, also after saving and loading', async t => {
  const model = await Swift.prepareModel(await base(), new LoraConfig({ r: 4, targetModules: ['q_proj', 'v_proj'], initLoraWeights: false })) as PeftModel
  await model.addAdapter('b', new LoraConfig({ r: 2, targetModules: ['o_proj'], initLoraWeights: false }))
  const names = ['default', 'b', '__base__', 'b', 'default']
  t.true(await rowsAgree(model, names) < 1e-5)
  const dir = temp()
  await model.savePretrained(dir)
  t.true(Object.keys(snapshot(dir)).length >= 3)
  const again = await PeftModel.fromPretrained(await base(), dir)
  await again.loadAdapter(`${dir}/b`, 'b')
  t.is(gap(await main(model, { inputIds: IDS, adapterNames: names }), await main(again, { inputIds: IDS, adapterNames: names })), 0)
})
