import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AdamW, AutoModel, Model, Swift, type Tensor } from '../index.js'
import { base, failsWith, fixtures, gap, IDS, logits, lora, numbers, readJson, snapshot, temp } from './support.js'

const MODELS = ['llama', 'llama-tied-bias', 'mistral', 'qwen2', 'qwen3', 'phi3', 'gpt2', 'bert', 'bert-classifier', 'roberta-classifier', 'vit']

test('a model saved whole, in shards or as .bin loads with the same bits', async t => {
  for (const name of MODELS) {
    const model = await base(name)
    const values = model.namedParameters().map(p => numbers(model.parameter(p.name)).slice(0, 50))
    for (const options of [{}, { maxShardSize: '100KB' }, { safeSerialization: false }]) {
      const dir = temp()
      await model.savePretrained(dir, options)
      const again = await AutoModel.fromPretrained(dir)
      t.deepEqual(again.namedParameters().map(p => numbers(again.parameter(p.name)).slice(0, 50)), values, `${name} ${JSON.stringify(options)}`)
      if ('maxShardSize' in options) t.true(Object.keys(snapshot(dir)).filter(f => f.endsWith('.safetensors')).length > 2)
    }
  }
})

test('files keep the names that transformers writes', async t => {
  const dir = temp()
  await (await base('vit')).savePretrained(dir)
  const header = (file: string) => {
    const bytes = readFileSync(file)
    return Object.keys(JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString())).filter(k => k !== '__metadata__').sort()
  }
  t.deepEqual(header(join(dir, 'model.safetensors')), header(join(fixtures, 'models/vit/model.safetensors')))
})

test('left padding, right padding and no padding agree where tokens are', async t => {
  const model = await base()
  const plain = numbers((await model.forward({ inputIds: [IDS[0]] })).logits!)
  const right = numbers((await model.forward({ inputIds: [[...IDS[0], 0, 0]], attentionMask: [[1, 1, 1, 1, 1, 1, 0, 0]] })).logits!)
  t.true(gap(plain, right.slice(0, plain.length)) < 1e-5)
  const left = numbers((await model.forward({
    inputIds: [[0, 0, ...IDS[0]]], attentionMask: [[0, 0, 1, 1, 1, 1, 1, 1]], positionIds: [[0, 0, 0, 1, 2, 3, 4, 5]],
  })).logits!)
  t.true(gap(plain, left.slice(2 * 160)) < 1e-5)
})

test('forwardSync and forward give the same bits', async t => {
  const model = await base()
  t.deepEqual(numbers(model.forwardSync({ inputIds: IDS }).logits!), await logits(model))
})

test('a pass without gradients gives the same bits and cannot be run backward', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora() })
  const inputs = { inputIds: IDS, labels: IDS }
  const { loss, logits: l } = await model.forward(inputs, { grad: false })
  t.deepEqual(numbers(l!), await logits(model))
  t.false(loss!.requiresGrad)
  t.false(model.forwardSync(inputs, { grad: false }).loss!.requiresGrad)
  t.true(model.forwardSync(inputs).loss!.requiresGrad)
  await failsWith(t, 'ERR_INVALID_STATE', () => loss!.backward())
})

test('greedy decoding with the cache equals decoding without it, in batches padded on the left', async t => {
  for (const name of ['llama', 'gpt2', 'qwen3', 'phi3']) {
    const model = await base(name)
    const slow = async (ids: number[]) => {
      const out: number[] = []
      for (let i = 0; i < 6; i++) {
        const { logits: l } = await model.forward({ inputIds: [[...ids, ...out]] })
        out.push(Number(l!.narrow(1, ids.length + i - 1, 1).argmax(-1).dataSync()[0]))
      }
      return out
    }
    const prompts = [[5, 9, 2, 77], [0, 0, 31, 4]]
    const steps: number[][] = []
    const masks = { inputIds: prompts, attentionMask: [[1, 1, 1, 1], [0, 0, 1, 1]] }
    for await (const step of model.generate(masks, { maxNewTokens: 6, eosTokenId: [] })) steps.push(step)
    t.deepEqual(steps.map(s => s[0]), await slow(prompts[0]), name)
    t.deepEqual(steps.map(s => s[1]), await slow([31, 4]), name)
  }
})

test('sampling follows its seed, ends at the end token and can be aborted', async t => {
  const model = await base()
  const sample = async (seed: number, options: object = {}) => {
    const out: number[] = []
    for await (const [id] of model.generate({ inputIds: [[5, 9]] }, { maxNewTokens: 12, temperature: 1, topK: 50, topP: 0.95, seed, eosTokenId: [], ...options })) out.push(id)
    return out
  }
  const first = await sample(3)
  t.is(first.length, 12)
  t.deepEqual(await sample(3), first)
  t.notDeepEqual(await sample(4), first)
  t.deepEqual(await sample(3, { eosTokenId: first[4] }), first.slice(0, first.indexOf(first[4]) + 1))
  const controller = new AbortController()
  const reason = new Error('stop')
  const error = await t.throwsAsync(async () => {
    for await (const _ of model.generate({ inputIds: [[5]] }, { maxNewTokens: 100, eosTokenId: [], signal: controller.signal })) controller.abort(reason)
  })
  t.is(error, reason)
  await failsWith(t, 'ERR_UNSUPPORTED_MODEL', async () => { for await (const _ of (await base('bert')).generate({ inputIds: [[1]] })) { /* none */ } })
})

test('rotary scalings equal transformers', async t => {
  // Logits of the fixture's Llama with each rope_parameters, from transformers 5.19.0: mean and last value of the output for IDS.
  const expected: Record<string, [number, number]> = readJson(join(fixtures, 'rope.json')).values
  for (const [key, [mean, last]] of Object.entries(expected)) {
    const dir = temp()
    const model = await base()
    await model.savePretrained(dir)
    const { writeFileSync } = await import('node:fs')
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...model.config, ...JSON.parse(key) }))
    const out = await logits(await AutoModel.fromPretrained(dir))
    t.true(Math.abs(out.reduce((a, b) => a + b, 0) / out.length - mean) < 1e-5, key)
    t.true(Math.abs(out.at(-1)! - last) < 1e-4, key)
    rmSync(dir, { recursive: true })
  }
})

test('fresh weights follow the seed and load nothing', async t => {
  const config = readJson(join(fixtures, 'models/llama/config.json'))
  const make = async (seed: number) => logits(await AutoModel.fromConfig(config, { seed }))
  t.deepEqual(await make(1), await make(1))
  t.notDeepEqual(await make(1), await make(2))
})

test('loadStateDict copies all or nothing', async t => {
  const [a, b] = [await base(), await AutoModel.fromConfig((await base()).config, { seed: 5 })]
  b.loadStateDict(a.stateDict())
  t.deepEqual(await logits(b), await logits(a))
  const before = await logits(b)
  const state = a.stateDict()
  await failsWith(t, 'ERR_SHAPE', () => b.loadStateDict({ ...state, 'model.norm.weight': state['lm_head.weight'] }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => b.loadStateDict({ nonsense: state['lm_head.weight'] }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => b.loadStateDict({ 'lm_head.weight': state['lm_head.weight'].mul(2) }))
  t.deepEqual(await logits(b), before)
})

test('parameters and state dicts walk the tree once, not once for each name', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora() })
  const native = model.native as unknown as Record<string, (...args: unknown[]) => unknown>
  let calls = 0
  // A call walks the tree once at most.
  const counted = new Proxy(native, {
    get: (target, name: string) => typeof target[name] === 'function' ? (...args: unknown[]) => (calls++, target[name](...args)) : target[name],
  })
  Object.defineProperty(model, 'native', { value: counted })
  const walks = (body: () => unknown) => {
    calls = 0
    body()
    return calls
  }
  t.is(walks(() => t.is(model.parameters().length, 16)), 1)
  let state: Record<string, Tensor> = {}
  t.is(walks(() => { state = model.stateDict() }), 1)
  t.true(model.namedParameters().every(p => p.name in state))
  t.is(walks(() => model.loadStateDict(state)), 1)
  t.is(walks(() => model.zeroGrad()), 1)
})

test('half precision follows f32, forward and in training', async t => {
  for (const name of ['llama', 'gpt2', 'bert-classifier', 'qwen3']) {
    const labels = name.startsWith('bert') ? [0, 2] : IDS
    const run = async (dtype: 'f32' | 'bf16' | 'f16') => {
      const model = await AutoModel.fromPretrained(join(fixtures, 'models', name), { dtype })
      const { logits: first } = await model.forward({ inputIds: IDS })
      t.is(first!.dtype, dtype)
      const tuned = await Swift.prepareModel(model, { a: lora({ targetModules: 'all-linear' }) })
      const optimizer = new AdamW(tuned.parameters(), { lr: 1e-3 })
      const losses: number[] = []
      for (let i = 0; i < 3; i++) {
        optimizer.zeroGrad()
        const { loss } = await tuned.forward({ inputIds: IDS, labels })
        losses.push(loss!.item())
        await loss!.backward()
        await optimizer.step()
      }
      return { first: numbers(first!), losses }
    }
    const exact = await run('f32')
    // bf16 keeps 8 bits of mantissa, f16 keeps 11; the error grows over four layers.
    for (const [dtype, tolerance] of [['bf16', 0.15], ['f16', 0.02]] as const) {
      const half = await run(dtype)
      t.true(gap(half.first, exact.first) < tolerance, `${name} ${dtype}: ${gap(half.first, exact.first)}`)
      t.true(gap(half.losses, exact.losses) < tolerance, `${name} ${dtype}: ${half.losses} for ${exact.losses}`)
    }
  }
})

test('a shared handle is the same model', async t => {
  const model = await base()
  const other = Model.fromHandle(model.share())
  t.deepEqual(await logits(other), await logits(model))
  model.dispose()
  t.is((await logits(other)).length, 2 * 6 * 160)
  const handle = other.share()
  other.dispose()
  await failsWith(t, 'ERR_INVALID_STATE', () => Model.fromHandle(handle))
})

test('a pass for the loss alone gives the loss and the gradients of a whole one, for every decoder', async t => {
  for (const name of ['llama', 'gpt2', 'gemma3', 'qwen3-moe', 'llama-tied-bias']) {
    const labels = [[5, -100, 2, 77, 31, 4], [-100, -100, -100, 3, 3, 60]]
    const both = []
    for (const logits of [true, false]) {
      const model = await base(name)
      if (name === 'llama') for (const p of model.namedParameters()) model.setRequiresGrad(p.name, !p.name.startsWith('lm_head'))
      const out = await model.forward({ inputIds: IDS, labels }, { logits })
      t.is(out.logits === undefined, !logits, name)
      await out.loss!.backward()
      both.push([out.loss!.item(), ...model.parameters().flatMap(p => (model.gradient(p.name) ? numbers(model.gradient(p.name)!) : []))])
    }
    t.true(both[0].length > 1000 && gap(both[0], both[1]) < 1e-5, `${name}: ${gap(both[0], both[1])}`)
  }
})

test('a pass for the loss alone keeps its logits where something needs them', async t => {
  const labels = [[5, 9, 2, 77, 31, 4], [8, 1, 150, 3, 3, 60]]
  const model = await Swift.prepareModel(await base(), lora({ targetModules: ['q_proj', 'lm_head'] }))
  const whole = await model.forward({ inputIds: IDS, labels })
  const alone = await model.forward({ inputIds: IDS, labels }, { logits: false })
  t.truthy(alone.logits, 'the head is adapted')
  t.is(alone.loss!.item(), whole.loss!.item())
  t.truthy((await model.forward({ inputIds: IDS }, { logits: false })).logits, 'without labels there is no loss')
  const classifier = await base('bert-classifier')
  t.truthy((await classifier.forward({ inputIds: IDS, labels: [0, 1] }, { logits: false })).loss)
  await failsWith(t, 'ERR_SHAPE', async () => (await base()).forward({ inputIds: IDS, labels: [[1, 2]] }, { logits: false }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', async () => (await base()).forward({ inputIds: IDS, labels: labels.map(r => r.map(() => 100_000)) }, { logits: false }))
})
