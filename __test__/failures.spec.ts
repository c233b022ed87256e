import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import {
  AutoModel, AutoTokenizer, LoRAConfig, type Model, PeftConfig, readSafetensors, Swift, SwiftConfig, SwiftTunersError, Tensor, writeSafetensors,
} from '../index.js'
import { ERROR_CODES } from '../src/errors.js'
import { errorCodes } from '../src/native/binding.js'
import { base, copyOf, failsWith, fixtures, IDS, logits, lora, numbers, readJson, root, snapshot, temp } from './support.js'

/** Parameters, their flags and their values. */
const state = (model: Model) => JSON.stringify(model.namedParameters().map(p => [p.name, p.requiresGrad, numbers(model.parameter(p.name)).slice(0, 8)]))

test('a bad configuration is refused by field and leaves no trace', async t => {
  const cases: [Record<string, unknown>, string, RegExp][] = [
    [{ r: 0 }, 'ERR_INVALID_CONFIG', /^r:/],
    [{ r: -3 }, 'ERR_INVALID_CONFIG', /^r:/],
    [{ r: 2.5 }, 'ERR_INVALID_CONFIG', /^r:/],
    [{ loraDropout: 1.5 }, 'ERR_INVALID_CONFIG', /loraDropout/],
    [{ bias: 'some' }, 'ERR_INVALID_CONFIG', /bias/],
    [{ loraDtype: 'int7' }, 'ERR_INVALID_CONFIG', /loraDtype/],
    [{ initLoraWeights: 'eva' }, 'ERR_INVALID_CONFIG', /initLoraWeights/],
    [{ targetModules: '(' }, 'ERR_INVALID_CONFIG', /targetModules/],
    [{ useQaLora: true }, 'ERR_INVALID_CONFIG', /useQaLora/],
    [{ targetParameters: ['x'] }, 'ERR_INVALID_CONFIG', /targetParameters/],
    [{ layerReplication: [[0, 2]] }, 'ERR_INVALID_CONFIG', /layerReplication/],
  ]
  for (const [fields, code, text] of cases) {
    const error = await failsWith(t, code, () => lora(fields))
    t.regex(error.message, text)
    t.true(error instanceof SwiftTunersError)
  }
})

test('a failing prepareModel leaves the model bit for bit as it was', async t => {
  const model = await base()
  const tuned = await Swift.prepareModel(model, { first: lora() })
  const [before, values] = [await logits(tuned), state(tuned)]
  const failing: [string, () => Promise<unknown>][] = [
    ['ERR_TARGET_NOT_FOUND', () => Swift.prepareModel(tuned, { ok: lora({ initLoraWeights: 'pissa' }), bad: lora({ targetModules: ['nope'] }) })],
    ['ERR_INVALID_CONFIG', () => Swift.prepareModel(tuned, { bad: lora({ targetModules: '.*self_attn' }) })],
    ['ERR_INVALID_CONFIG', () => Swift.prepareModel(tuned, { bad: lora({ r: 200, initLoraWeights: 'pissa' }) })],
    ['ERR_INVALID_CONFIG', () => Swift.prepareModel(tuned, { 'a/b': lora() })],
    ['ERR_INVALID_CONFIG', () => Swift.prepareModel(tuned, { FIRST: lora() })],
    ['ERR_INVALID_CONFIG', () => Swift.prepareModel(tuned, { x: lora({ useMergedLinear: true, enableLora: [true, false, true] }) })],
    ['ERR_INVALID_CONFIG', () => Swift.prepareModel(tuned, { x: lora() }, { extraStateKeys: ['('] })],
    ['ERR_INVALID_STATE', () => Swift.prepareModel(tuned, PeftConfig.fromJSON({ peft_type: 'LORA' }))],
    ['ERR_TARGET_NOT_FOUND', () => Swift.prepareModel(tuned, { x: lora({ modulesToSave: ['nothing'] }) })],
  ]
  for (const [code, call] of failing) {
    await failsWith(t, code, call)
    t.is(state(tuned), values)
    t.deepEqual(await logits(tuned), before)
    t.deepEqual(tuned.activeAdapters, ['first'])
    t.deepEqual([...tuned.adapters.keys()], ['first'])
  }
})

test('a target that matches nothing names the closest modules', async t => {
  const model = await base()
  const error = await failsWith(t, 'ERR_TARGET_NOT_FOUND', () => Swift.prepareModel(model, { a: lora({ targetModules: ['q_prj'] }) }))
  t.regex(error.message, /q_prj.*q_proj/)
})

test('an error carries its facts beside its text', async t => {
  const details = async (code: string, call: () => unknown) => ((await failsWith(t, code, call)) as SwiftTunersError).details
  const model = await base()
  const target = await details('ERR_TARGET_NOT_FOUND', () => Swift.prepareModel(model, { a: lora({ targetModules: ['q_prj'] }) }))
  t.true(target!.nearest!.includes('q_proj'), target!.nearest!.join())
  t.deepEqual(await details('ERR_INVALID_CONFIG', () => lora({ r: 0 })), { option: 'r' })
  t.deepEqual(await details('ERR_SHAPE', () => model.loadStateDict({ 'model.norm.weight': Tensor.zeros([3]) }, { strict: false })), {
    path: 'model.norm.weight', expected: model.parameter('model.norm.weight').shape, actual: [3],
  })
  const tuned = await Swift.prepareModel(model, { a: lora() })
  t.deepEqual(await details('ERR_ADAPTER_NOT_FOUND', () => Swift.merge(tuned, { adapterNames: ['b'] })), { name: 'b', known: ['a'] })
  const file = join(temp(), 'none.safetensors')
  t.deepEqual(await details('ERR_IO', () => readSafetensors(file)), { path: file })
  model.dispose()
  t.is(await details('ERR_DISPOSED', () => model.namedModules()), undefined)
})

test('both sides know the same error codes', t => {
  t.deepEqual([...errorCodes(), 'ERR_HUB', 'ERR_DATASET'], [...ERROR_CODES])
})

test('a failed merge, weighted adapter or activation changes nothing', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora(), b: lora({ r: 2 }) })
  const [before, values] = [await logits(tuned), state(tuned)]
  const weighted = { adapters: ['a', 'b'], weights: [1, 1], adapterName: 'mix' }
  await failsWith(t, 'ERR_ADAPTER_NOT_FOUND', () => Swift.merge(tuned, { adapterNames: ['a', 'zzz'] }))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => tuned.addWeightedAdapter({ ...weighted, combinationType: 'linear' }))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => tuned.addWeightedAdapter({ ...weighted, weights: [1] }))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => tuned.addWeightedAdapter({ ...weighted, combinationType: 'ties' }))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => tuned.addWeightedAdapter({ ...weighted, combinationType: 'blend' as 'cat' }))
  await failsWith(t, 'ERR_ADAPTER_EXISTS', () => tuned.addWeightedAdapter({ ...weighted, adapterName: 'b', combinationType: 'cat' }))
  t.is(state(tuned), values)
  t.deepEqual(await logits(tuned), before)
})

const checkpoint = (name = 'llama-qv') => copyOf(join(fixtures, 'swift', name, 'checkpoint'))
const weightsOf = (dir: string) => join(dir, 'default/adapter_model.safetensors')

function writeHeader(file: string, header: string): void {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  writeFileSync(file, Buffer.concat([length, Buffer.from(header)]))
}

test('bad adapter folders are refused with the file at fault, and the base stays as it was', async t => {
  const model = await base()
  const [before, values] = [await logits(model), state(model)]
  const breakers: [string, RegExp, (dir: string) => void][] = [
    ['ERR_CHECKPOINT_CORRUPT', /adapter_model\.safetensors/, d => rmSync(weightsOf(d))],
    ['ERR_CHECKPOINT_CORRUPT', /adapter_model\.safetensors/, d => writeFileSync(weightsOf(d), 'xx')],
    ['ERR_CHECKPOINT_CORRUPT', /adapter_model\.safetensors/, d => writeFileSync(weightsOf(d), readFileSync(weightsOf(d)).subarray(0, -5))],
    ['ERR_CHECKPOINT_CORRUPT', /adapter_config\.json/, d => writeFileSync(join(d, 'default/adapter_config.json'), '{"r": 4')],
    ['ERR_CHECKPOINT_CORRUPT', /duplicate key/, d => writeHeader(weightsOf(d), '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')],
    ['ERR_CHECKPOINT_CORRUPT', /git lfs pull/, d => writeFileSync(weightsOf(d), 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')],
    ['ERR_UNSUPPORTED_TUNER', /WORMHOLE/, d => writeFileSync(join(d, 'default/adapter_config.json'), '{"swift_type": "WORMHOLE"}')],
    ['ERR_CHECKPOINT_CORRUPT', /no adapter/, d => rmSync(join(d, 'default'), { recursive: true })],
    ['ERR_UNSAFE_FILE', /regular file/, d => { rmSync(weightsOf(d)); mkdirSync(weightsOf(d)) }],
    ['ERR_UNSAFE_FILE', /adapter_model\.bin/, d => { rmSync(weightsOf(d)); writeFileSync(join(d, 'default/adapter_model.bin'), 'x') }],
  ]
  for (const [code, text, breaker] of breakers) {
    const dir = checkpoint()
    breaker(dir)
    const error = await failsWith(t, code, () => Swift.fromPretrained(model, dir))
    t.regex(error.message, text)
    t.is(state(model), values)
  }
  t.deepEqual(await logits(model), before)
  await failsWith(t, 'ERR_IO', () => Swift.fromPretrained(model, '/no/such/folder'))
  await failsWith(t, 'ERR_HUB', () => Swift.fromPretrained(model, 'nobody/nothing-of-this-name'))
})

test('tensors of a wrong shape, and checkpoints of which nothing applies, are errors', async t => {
  const model = await base()
  const values = state(model)
  const tensors = await readSafetensors(weightsOf(checkpoint()))
  const [name] = Object.keys(tensors)
  const wrong = checkpoint()
  await writeSafetensors(weightsOf(wrong), { ...tensors, [name]: Tensor.zeros([4, 63]) })
  const error = await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', () => Swift.fromPretrained(model, wrong))
  t.true(error.message.includes(name) && error.message.includes('[4, 64]'), error.message)
  const foreign = checkpoint()
  await writeSafetensors(weightsOf(foreign), { 'something.else': Tensor.zeros([2]) })
  t.regex((await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', () => Swift.fromPretrained(model, foreign))).message, /none of its 1 tensors/)
  t.is(state(model), values)
})

test('missing, surplus and NaN tensors are reported, and errors when strict', async t => {
  const tensors = await readSafetensors(weightsOf(checkpoint()))
  const [first, second, ...rest] = Object.keys(tensors)
  const dir = checkpoint()
  const changed = Object.fromEntries(rest.map(n => [n, tensors[n]]))
  await writeSafetensors(weightsOf(dir), { ...changed, [second]: tensors[second].mul(NaN), extra: Tensor.zeros([1]) })
  const model = await Swift.fromPretrained(await base(), dir)
  const [report] = model.loadReports
  t.deepEqual([report.missing, report.unexpected, report.loaded.length], [[first], ['extra'], rest.length + 1])
  t.true(report.warnings.some(w => w.includes(second) && w.includes('NaN')))
  const fresh = await base()
  const values = state(fresh)
  await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', () => Swift.fromPretrained(fresh, dir, { strict: true }))
  t.is(state(fresh), values)
})

test('adapter names that leave their folder are refused before anything is read or written', async t => {
  const model = await base()
  const dir = checkpoint()
  for (const name of ['..', 'a/b', 'a\\b', 'a.b', '', ' x', 'con', 'extra_states', 'a\u202eb', 'x'.repeat(300)]) {
    await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.fromPretrained(model, dir, { adapterName: { default: name } }))
    await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.prepareModel(model, { [name]: lora() }))
  }
  await failsWith(t, 'ERR_INVALID_CONFIG', () => Swift.fromPretrained(model, dir, { adapterName: '../default' }))
})

test('unknown fields are kept and written back, and cannot pollute prototypes', async t => {
  const dir = checkpoint()
  const file = join(dir, 'default/adapter_config.json')
  writeFileSync(file, JSON.stringify({ ...readJson(file), from_the_future: { a: [1] } }).replace('{', '{"__proto__": {"polluted": 1},'))
  const model = await Swift.fromPretrained(await base(), dir)
  t.true(model.loadReports[0].warnings.some(w => w.includes('from_the_future')))
  const out = temp()
  await model.savePretrained(out)
  t.deepEqual(readJson(join(out, 'default/adapter_config.json')).from_the_future, { a: [1] })
  t.is(({} as Record<string, unknown>).polluted, undefined)
  t.true(SwiftConfig.fromJSON(readJson(file)) instanceof LoRAConfig)
})

test('a save that cannot finish leaves the old checkpoint and nothing beside it', async t => {
  const tuned = await Swift.prepareModel(await base(), { a: lora() })
  const parent = temp()
  const dir = join(parent, 'adapter')
  await tuned.savePretrained(dir)
  const before = snapshot(parent)
  const file = join(parent, 'file')
  writeFileSync(file, 'keep me')
  await failsWith(t, 'ERR_IO', () => tuned.savePretrained(file))
  t.is(readFileSync(file, 'utf8'), 'keep me')
  rmSync(file)
  if (process.getuid?.() !== 0) {
    chmodSync(parent, 0o500)
    await failsWith(t, 'ERR_IO', () => tuned.savePretrained(dir))
    chmodSync(parent, 0o700)
  }
  t.deepEqual(snapshot(parent), before)
})

test('a full disk during a save leaves the old checkpoint whole', t => {
  // A file-size limit stands in for a full disk: it works without root. SIGXFSZ is ignored so that write() fails instead.
  const parent = temp()
  const script = `
    const { AutoModel, LoRAConfig, Swift } = require(${JSON.stringify(join(root, 'dist/index.js'))})
    process.on('SIGXFSZ', () => {})
    ;(async () => {
      const model = await Swift.prepareModel(await AutoModel.fromPretrained(${JSON.stringify(join(fixtures, 'models/llama'))}),
        { a: new LoRAConfig({ r: 64, targetModules: 'all-linear' }) })
      try { await model.savePretrained(${JSON.stringify(join(parent, 'adapter'))}); console.log('saved') }
      catch (e) { console.log(e.code) }
    })()`
  const run = (limit: string) => spawnSync('bash', ['-c', `ulimit -f ${limit}; exec "$0" -e "$1"`, process.execPath, script], { encoding: 'utf8' })
  if (process.platform === 'win32') return t.pass('no file-size limits on Windows')
  t.is(run('unlimited').stdout.trim(), 'saved')
  const before = snapshot(parent)
  const full = run('64')
  t.is(full.stdout.trim(), 'ERR_IO', full.stderr)
  t.deepEqual(snapshot(parent), before)
})

test('broken models are refused with the reason', async t => {
  const edit = (change: (config: Record<string, unknown>) => void) => {
    const dir = copyOf(join(fixtures, 'models/llama'))
    const config = readJson(join(dir, 'config.json'))
    change(config)
    writeFileSync(join(dir, 'config.json'), JSON.stringify(config))
    return dir
  }
  const cases: [string, RegExp, string][] = [
    ['ERR_UNSUPPORTED_MODEL', /mamba/, edit(c => { c.model_type = 'mamba' })],
    ['ERR_UNSUPPORTED_MODEL', /LlamaForMultipleChoice/, edit(c => { c.architectures = ['LlamaForMultipleChoice'] })],
    ['ERR_UNSUPPORTED_MODEL', /longrope/, edit(c => { c.rope_parameters = { rope_type: 'longrope', rope_theta: 1e4 } })],
    ['ERR_UNSUPPORTED_MODEL', /quantization_config/, edit(c => { c.quantization_config = { bits: 4 } })],
    ['ERR_INVALID_CONFIG', /hidden_act/, edit(c => { c.hidden_act = 'sprelu' })],
    ['ERR_INVALID_CONFIG', /hidden_size/, edit(c => { c.hidden_size = '64' })],
    ['ERR_INVALID_CONFIG', /num_hidden_layers/, edit(c => { c.num_hidden_layers = 1e12 })],
    ['ERR_INVALID_CONFIG', /num_attention_heads/, edit(c => { c.num_key_value_heads = 3 })],
    ['ERR_CHECKPOINT_MISMATCH', /model\.layers\.4/, edit(c => { c.num_hidden_layers = 5 })],
    ['ERR_CHECKPOINT_MISMATCH', /\[160, 64\]/, edit(c => { c.vocab_size = 161 })],
  ]
  for (const [code, text, dir] of cases) {
    t.regex((await failsWith(t, code, () => AutoModel.fromPretrained(dir))).message, text)
  }
  const index = copyOf(join(fixtures, 'models/llama'))
  rmSync(join(index, 'model.safetensors'))
  writeFileSync(join(index, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { 'model.norm.weight': '../../etc/passwd' } }))
  await failsWith(t, 'ERR_UNSAFE_FILE', () => AutoModel.fromPretrained(index))
})

const posix = process.platform === 'win32' ? test.skip : test
posix('a pipe or a device in the place of a configuration is refused, and nobody waits for it', async t => {
  for (const special of ['pipe', '/dev/zero', 'folder']) {
    const dir = temp()
    const file = join(dir, 'adapter_config.json')
    if (special === 'pipe') spawnSync('mkfifo', [file])
    else if (special === 'folder') mkdirSync(file)
    else symlinkSync(special, file)
    await failsWith(t, 'ERR_UNSAFE_FILE', () => PeftConfig.fromPretrained(dir))
    await t.throwsAsync(() => AutoModel.fromPretrained(dir), { message: /config\.json|adapter/ })
  }
  await failsWith(t, 'ERR_IO', () => PeftConfig.fromPretrained(temp()))
})

test('a model reached through links, as in the hub cache, loads', async t => {
  const dir = temp()
  for (const file of ['config.json', 'model.safetensors']) symlinkSync(join(fixtures, 'models/llama', file), join(dir, file))
  await t.notThrowsAsync(() => AutoModel.fromPretrained(dir))
})

test('wrong inputs are errors that name the input', async t => {
  const model = await base()
  const cases: [object, RegExp][] = [
    [{}, /inputIds/],
    [{ inputIds: [[1, 2], [3]] }, /inputIds.*data\[1\]/],
    [{ inputIds: [[1, 'x']] }, /inputIds/],
    [{ inputIds: [[1.5]] }, /inputIds/],
    [{ inputIds: [[1, 9999]] }, /9999/],
    [{ inputIds: [[1, -2]] }, /-2/],
    [{ inputIds: IDS, attentionMask: [[1, 1]] }, /attentionMask/],
    [{ inputIds: IDS, labels: [[1]] }, /labels/],
    [{ inputIds: [[1, 2]], labels: [[1, 500]] }, /500/],
    [{ inputIds: IDS, pixelWalues: Tensor.zeros([1]) }, /pixelWalues/],
  ]
  for (const [inputs, text] of cases) {
    const error = await t.throwsAsync(() => model.forward(inputs))
    t.regex(error!.message, text)
    t.true(['ERR_SHAPE', 'ERR_INVALID_ARGUMENT'].includes((error as SwiftTunersError).code))
  }
})

test('odd values in every place are ordinary errors', async t => {
  const model = await base()
  const odd = [undefined, null, NaN, -0, 2 ** 53, 10n, Symbol('s'), () => 1, {}, [], '', 'x', true, new Date(), new Proxy({}, {}), Object.create(null)]
  for (const value of odd) {
    const bad = value as never
    for (const call of [
      () => AutoModel.fromPretrained(bad), () => AutoTokenizer.fromPretrained(bad), () => Swift.prepareModel(bad, bad), () => Swift.prepareModel(model, bad),
      () => Swift.fromPretrained(bad, bad), () => Swift.fromPretrained(model, bad), () => Swift.saveToPeftFormat(bad, bad),
      () => SwiftConfig.fromJSON(bad), () => Tensor.from([1, 2]).narrow(bad, bad, bad),
      () => Tensor.from([1, 2]).matmul(bad), () => model.parameter(bad), () => Tensor.from([[1]], bad === undefined ? (7 as never) : bad),
    ]) {
      try {
        await call()
      } catch (error) {
        t.true(error instanceof Error)
      }
    }
  }
  t.is((await logits(model)).length, 2 * 6 * 160, 'the model still works')
})

test('use after dispose is an error', async t => {
  const model = await base()
  const tensor = Tensor.from([1, 2])
  tensor.dispose()
  tensor.dispose()
  await failsWith(t, 'ERR_DISPOSED', () => tensor.sqr())
  model.dispose()
  model[Symbol.dispose]()
  await failsWith(t, 'ERR_DISPOSED', () => logits(model))
  await failsWith(t, 'ERR_DISPOSED', () => model.namedParameters())
})

test('an aborted call rejects with the reason', async t => {
  const reason = new Error('enough')
  const model = await base()
  const signal = AbortSignal.abort(reason)
  const dir = join(temp(), 'out')
  for (const call of [
    () => AutoModel.fromPretrained(join(fixtures, 'models/llama'), { signal }), () => Swift.prepareModel(model, { a: lora() }, { signal }),
    () => Swift.fromPretrained(model, checkpoint(), { signal }), () => model.forward({ inputIds: IDS }, { signal }),
    () => model.savePretrained(dir, { signal }),
  ]) {
    t.is(await t.throwsAsync(call), reason)
  }
  t.false(existsSync(dir))
  t.false(model.namedModules().some(n => n.includes('lora')))
})
