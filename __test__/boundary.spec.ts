/** Every export and every method with what it should never be given: each call ends, and each error is one of ours. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as lib from '../index.js'
import { ERROR_CODES } from '../src/errors.js'
import { base, demo, fixtures, IDS, lora, root, temp } from './support.js'

const { AdamW, AutoTokenizer, LoraConfig, Parameter, SwiftTunersError, Tensor } = lib

const circular: unknown[] = []
circular.push(circular)
const loop: Record<string, unknown> = {}
loop.loop = loop
let deep: unknown[] = []
for (let i = 0; i < 10_000; i++) deep = [deep]

const BAD: unknown[] = [
  undefined, null, true, false, 0, -0, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 32, 2 ** 53, -(2 ** 31) - 1, 1e308, 10n, Symbol('s'),
  '', 'x', 'lora_alpha', '\0', '../x', '__proto__', 'ü'.repeat(1000), 'x'.repeat(100_000),
  [], [null], [[]], [1.5], [-1], ['x'], [2 ** 40], circular, deep, Array.from({ length: 3 }), Object.assign([], { length: 1000 }), {}, { x: 1 }, { learning_rate: 1 }, Object.create(null), loop,
  () => 1, new Date(), new Map([['a', 1]]), /x/, new Error('x'), Promise.resolve(1), new Proxy({}, {}), new ArrayBuffer(8), new Int8Array(2), new Float32Array(0),
  { aborted: true, addEventListener: () => {} }, Tensor.from([1, 2]),
]
/** Of configurations, which have many fields and one reader. */
const FEW: unknown[] = [null, true, -1, 1.5, NaN, 2 ** 53, 10n, Symbol('s'), 'x', ['x'], [-1], circular, {}, { x: [1] }, loop, () => 1]

type Call = (...args: unknown[]) => unknown

/** One call to its end: a promise is awaited, and of what is iterated the first step is taken. */
async function ended(call: Call, args: unknown[]): Promise<void> {
  const out = call(...args)
  const steps = out as Partial<AsyncGenerator>
  if (typeof out === 'object' && out !== null && Symbol.asyncIterator in out && typeof steps.next === 'function') {
    await steps.next()
    await steps.return?.(undefined)
  } else if (out instanceof Promise) await out
}

class Boundary {
  calls = 0
  readonly wrong = new Set<string>()
  slowest = { ms: 0, name: '' }

  /** Whether the call succeeded; what is wrong with one that failed otherwise than it should is noted. */
  async try(name: string, call: Call, args: unknown[]): Promise<boolean> {
    this.calls += 1
    const begun = performance.now()
    let timer: NodeJS.Timeout | undefined
    const hang = new Promise<'hang'>(done => { timer = setTimeout(() => done('hang'), 2000) })
    try {
      if (await Promise.race([ended(call, args), hang]) === 'hang') this.wrong.add(`${name}: does not end`)
      return true
    } catch (error) {
      const { name: kind, code, message } = error as Error & { code?: string }
      const ours = error instanceof SwiftTunersError && ERROR_CODES.includes(error.code) && typeof message === 'string' && message !== ''
      const inside = /internal error|rust type|napi|Failed to convert|Cannot read prop|is not a function|is not iterable/
      if (!(ours || kind === 'AbortError') || inside.test(message)) this.wrong.add(`${name}: ${kind} ${code ?? 'without a code'}: ${message}`.slice(0, 300))
      return false
    } finally {
      clearTimeout(timer)
      const ms = performance.now() - begun
      if (ms > this.slowest.ms) this.slowest = { ms, name }
    }
  }

  /** Every place of a call with every bad value: alone, in all places, and between good ones; options by their names. */
  async all(name: string, make: () => Call | Promise<Call>, good: unknown[], changes = false): Promise<void> {
    let call = await make()
    const run = async (args: unknown[]) => {
      if (await this.try(name, call, args) && changes) call = await make()
    }
    for (const bad of BAD) {
      for (const args of [[bad], [bad, bad, bad, bad], ...good.map((_, i) => good.with(i, bad))]) await run(args)
    }
    for (const [i, value] of good.entries()) {
      if (!isOptions(value)) continue
      for (const option of await this.options(name, call, good, i)) for (const bad of BAD) await run(good.with(i, { ...value, [option]: bad }))
    }
  }

  /** The options that a call has: what it says when it is given another. */
  private async options(name: string, call: Call, good: unknown[], at: number): Promise<string[]> {
    const unknown = 'q'.repeat(40)
    try {
      await ended(call, good.with(at, { ...(good[at] as object), [unknown]: 1 }))
    } catch (error) {
      const names = /there are ([\w, ]+)$/.exec((error as Error).message)?.[1].split(', ')
      if (names) return names
    }
    this.wrong.add(`${name}: takes options that there are not, as argument ${at}`)
    return []
  }

  done(t: ExecutionContext): void {
    t.log(`${this.calls} calls, the slowest ${Math.round(this.slowest.ms)} ms (${this.slowest.name})`)
    t.deepEqual([...this.wrong], [])
    t.true(this.slowest.ms < 2000, this.slowest.name)
  }
}

/** What `options` gives: an object whose names are looked up. */
const marked = new WeakSet<object>()
const options = (given: object = {}) => {
  marked.add(given)
  return given
}
const isOptions = (value: unknown): value is object => typeof value === 'object' && value !== null && marked.has(value)

const llama = join(fixtures, 'models/llama')
const adapter = join(fixtures, 'peft/basic/checkpoint')
const config = () => new LoraConfig({ r: 2, targetModules: ['q_proj'], initLoraWeights: false })
const tuned = async () => await lib.Swift.prepareModel(await base(), config()) as lib.PeftModel
const swift = async () => lib.Swift.prepareModel(await base(), { a: lora() }) as Promise<lib.SwiftModel>
const parameter = () => new Parameter('p', Tensor.from([[1, 2], [3, 4]]))
const batches = [{ inputIds: IDS, labels: IDS }]
const rows = [{ messages: [{ role: 'user', content: 'q' }, { role: 'assistant', content: 'a' }] }]
const encoded = [{ inputIds: [1, 2], labels: [-100, 2] }]
const characters: lib.RowTokenizer = { encode: text => Array.from(text, c => c.charCodeAt(0)), decode: () => '.', eosTokenId: 1, fingerprint: 'x' }
const data = () => lib.loadDataset(rows)

const sums = () => Tensor.from([-1, -2])
const pairs = () => ({ chosen: sums(), rejected: sums(), chosenTokens: [1, 2], rejectedTokens: [1, 2], chosenNll: Tensor.from([1]).sum() })

/** Names of what is called with good values beside the bad one. */
async function goodArguments(model: lib.Model, peft: lib.PeftModel): Promise<Record<string, unknown[]>> {
  const t = Tensor.from([[1, 2], [3, 4]])
  const ids = Tensor.from([0, 1], undefined, { dtype: 'i64' })
  const inputs = { inputIds: IDS }
  return {
    'Tensor.from': [[1, 2], [2], options()], 'Tensor.zeros': [[2], options()], 'Tensor.cat': [[t, t], 0], 'Tensor.stack': [[t, t], 0],
    'Tensor#narrow': [0, 0, 1], 'Tensor#transpose': [0, 1], 'Tensor#indexSelect': [0, ids], 'Tensor#gather': [0, Tensor.from([[0, 1]], undefined, { dtype: 'i64' })],
    'Tensor#sum': [0, options()], 'Tensor#mean': [[0], options()], 'Tensor#max': [0, options()],
    'Model#forward': [inputs, options()], 'Model#forwardSync': [inputs, options()], 'Model#generate': [inputs, options({ maxNewTokens: 2 })],
    'Model#generateSteps': [inputs, options({ maxNewTokens: 2 })], 'Model#setRequiresGrad': ['model.norm.weight', true],
    'Model#loadStateDict': [model.stateDict(), options()], 'Model#savePretrained': ['saved', options()],
    'SwiftModel#savePretrained': ['saved', options()], 'SwiftModel#setActiveAdapters': ['a', options()], 'SwiftModel#deactivateAdapter': ['a', options()],
    'SwiftModel#adapterKeys': ['a', options()],
    'PeftModel#savePretrained': ['saved', options()], 'PeftModel#addAdapter': ['new', config(), options()], 'PeftModel#loadAdapter': [adapter, 'new', options()],
    'PeftModel#setAdapter': ['default', options()], 'PeftModel#renameAdapter': ['nobody', 'new'], 'PeftModel#mergeAndUnload': [options()],
    'PeftModel#mergeAdapter': [options()], 'PeftModel#setRequiresGrad': ['default', true], 'TunedModel#withActiveAdapters': ['a', () => 1],
    'TunedModel#addWeightedAdapter': [options({ adapters: ['default'], weights: [1], adapterName: 'w', combinationType: 'linear' })],
    'TunedModel#createOptimizerParamGroups': [options({ lr: 1, weightDecay: 0 })],
    'AutoTokenizer#encode': ['a', options()], 'AutoTokenizer#encodeBatch': [['a'], options()], 'AutoTokenizer#decode': [[1], options()],
    'AutoTokenizer#decodeStream': [options()], 'AutoTokenizer#applyChatTemplate': [[{ role: 'user', content: 'a' }], options()],
    'AutoTokenizer#encodeMany': [['a'], options()], 'AutoTokenizer#encodeChat': [[{ role: 'user', content: 'a' }], options()],
    'AutoTokenizer#encodeChats': [['{"messages":[{"role":"user","content":"a"}]}'], options()],
    'NativeBacked#stepWith': [options()], 'Trainer#run': [options({ maxSteps: 1 })],
    'AutoModel.fromPretrained': [llama, options()], 'AutoModel.fromConfig': [{ ...model.config, num_hidden_layers: 1 }, options()],
    'AutoModel.fromModules': [lib.nn.sequential([lib.nn.linear(2, 2)]), options()], 'AutoTokenizer.fromPretrained': [join(demo, 'base-model'), options()],
    'Swift.prepareModel': [model, config(), options({ adapterName: 'default' })], 'Swift.fromPretrained': [peft, adapter, options()],
    'Swift.mergeFiles': [llama, adapter, 'merged', options()], 'Swift.merge': [peft, options()], 'Swift.saveMerged': [peft, 'merged', options()],
    'Swift.mergeAndUnload': [peft, options({ adapterName: 'nobody' })], 'Swift.saveToPeftFormat': [join(fixtures, 'nowhere'), 'converted'],
    'PeftModel.fromPretrained': [peft, adapter, options()], 'PeftConfig.fromPretrained': [adapter, options()],
    'AutoPeftModel.fromPretrained': [adapter, options()], snapshotDownload: ['org/name', options({ localFilesOnly: true })],
    AdamW: [[parameter()], options()], AdamW8bit: [[parameter()], options()], SGD: [[parameter()], options()], Adafactor: [[parameter()], options()],
    GaLoreAdamW: [[parameter()], options()], GaLoreAdafactor: [[parameter()], options()], QGaLoreAdamW: [[parameter()], options()], Muon: [[parameter()], options()],
    // Nobody outside has the handle that its constructor takes.
    AutoTokenizer: [{}, {}, 'a template', 'a name'],
    LoraFA: [peft, options()], Parameter: ['p', t], Trainer: [options({ model: peft, train: batches, optimizer: new AdamW(peft.parameters()) })],
    createGaLoreParamGroups: [peft, options({ rank: 2 }), options({ lr: 1 })], readSafetensors: ['nowhere'], writeSafetensors: ['written', { t }, { a: 'b' }],
    getPeftModelStateDict: [peft, options()], setPeftModelStateDict: [peft, lib.getPeftModelStateDict(peft), options()],
    hotswapAdapter: [peft, adapter, 'nobody', options()], createArrowModel: [peft, [adapter], {}, options()], rescaleAdapterScale: [peft, 1, () => 1],
    preprocessLoraga: [model, config(), batches, options()], preprocessCorda: [model, config(), batches, options()],
    initializeLoraEvaWeights: [peft, batches, options()],
    loadDataset: [rows, options()], interleave: [[data(), data()], options()], concatenate: [data(), data()], parseJson: ['{}'],
    packRows: [encoded, options({ size: 8 })], collate: [encoded, options({ padTokenId: 0 })], batches: [encoded, options({ padTokenId: 0, batchSize: 1 })],
    encodeRow: [characters, { text: 'a' }, options()], encodeDataset: [characters, data(), options()],
    sequenceLogps: [peft, { inputIds: IDS, labels: IDS }, options()], withReference: [peft, () => 1],
    dpoLoss: [pairs(), options()], orpoLoss: [pairs(), options()], simpoLoss: [pairs(), options()], cpoLoss: [pairs(), options()],
    ktoLoss: [{ logps: sums(), refLogps: [0, 0], labels: [true, false], klLogps: [0, 0], refKlLogps: [0, 0] }, options()], rewardLoss: [pairs(), options()],
    groupAdvantages: [[1, 2], options({ numGenerations: 2 })], grpoLoss: [{ logps: t, mask: t, advantages: [1, 2] }, options()],
    infoNCELoss: [t, t, options()], tokenAccuracy: [peft, batches], meanPooling: [Tensor.zeros([1, 2, 2]), [[1, 1]]],
    ...Object.fromEntries(['DPOTrainer', 'ORPOTrainer', 'SimPOTrainer', 'CPOTrainer', 'KTOTrainer', 'RewardTrainer', 'GRPOTrainer', 'SFTTrainer'].map(name =>
      [name, [options({ model: peft, train: [], optimizer: new AdamW(peft.parameters()) })]])),
    'Dataset#map': [(row: unknown) => row], 'Dataset#filter': [() => true], 'Dataset#shuffle': [options()], 'Dataset#take': [1], 'Dataset#skip': [1],
    'Dataset#batch': [1], 'Dataset#split': [0.5, options()], 'Dataset#forEpoch': [0, 0],
    'nn.linear': [2, 2, options()], 'nn.embedding': [2, 2], 'nn.transposedLinear': [2, 2], 'nn.conv1d': [2, 2, 1, options()], 'nn.conv2d': [2, 2, 1, options()],
    'nn.multiheadAttention': [2, 1, options()], 'nn.layerNorm': [2, options()], 'nn.rmsNorm': [2, options()], 'nn.groupNorm': [1, 2, options()], 'nn.gelu': [options()],
  }
}

/** Own functions of an object, but for those that end its life, show it, or throw on purpose. */
function functions(of: object): string[] {
  const left = ['constructor', 'dispose', 'toString', 'toJSON', 'throw', 'then', 'length', 'name', 'prototype']
  return Object.entries(Object.getOwnPropertyDescriptors(of)).filter(([name, d]) => !left.includes(name) && typeof d.value === 'function').map(([name]) => name)
}

/** Classes of which configurations are, with the fields that have no default. */
const target = { targetModules: ['q_proj'] }
const REQUIRED: Record<string, object> = {
  AdapterConfig: { dim: 8, ...target }, PromptConfig: { dim: 8, ...target, embeddingPos: 0 }, SideConfig: { dim: 8, targetModules: 'q_proj' },
  ResTuningConfig: { dims: 8, stemModules: 'a', targetModules: 'b' }, SCETuningConfig: { dims: 8, ...target }, LLaMAProConfig: { numNewBlocks: 1, modelType: 'llama' },
  PartConfig: { targetModules: 'q_proj' }, AdaptionPromptConfig: { adapterLen: 2, adapterLayers: 1 }, XLoraConfig: { adapters: { a: adapter } },
  PromptTuningConfig: { numVirtualTokens: 2 }, MultitaskPromptTuningConfig: { numVirtualTokens: 2 }, PromptEncoderConfig: { numVirtualTokens: 2 },
  PrefixTuningConfig: { numVirtualTokens: 2 }, CartridgeConfig: { numVirtualTokens: 2 }, ReftConfig: { modelType: 'llama' }, AdaLoraConfig: { totalStep: 10 },
}

test.before(() => {
  const folder = join(temp(), 'a/b/c')
  mkdirSync(folder, { recursive: true })
  process.chdir(folder)
  Object.assign(process.env, { USE_HF: '1', HF_HUB_OFFLINE: '1', HF_HUB_CACHE: join(folder, 'cache'), HF_ENDPOINT: 'http://127.0.0.1:59999' })
  process.removeAllListeners('warning')
  process.emitWarning = () => {}
})

type Class = new (...args: unknown[]) => object
const isClass = (value: unknown): value is Class => typeof value === 'function' && /^class\b/.test(String(value))
const isConfig = (value: Class) => value.prototype instanceof lib.SwiftConfig || value.prototype instanceof lib.PeftConfig

test.serial('exports: functions, constructors and static methods', async t => {
  const [model, peft] = [await base(), await tuned()]
  const good = await goodArguments(model, peft)
  const boundary = new Boundary()
  for (const [name, value] of Object.entries<unknown>({ ...lib })) {
    if (name === 'SwiftTunersError') continue
    if (typeof value === 'object' && value !== null) {
      for (const method of functions(value)) await boundary.all(`${name}.${method}`, () => (value as unknown as Record<string, Call>)[method], good[`${name}.${method}`] ?? [])
    } else if (!isClass(value)) {
      await boundary.all(name, () => value as Call, good[name] ?? [])
    } else if (!isConfig(value)) {
      await boundary.all(name, () => (...args: unknown[]) => new value(...args), good[name] ?? [])
      const statics = value as unknown as Record<string, Call>
      for (const method of functions(value)) await boundary.all(`${name}.${method}`, () => (...args) => statics[method](...args), good[`${name}.${method}`] ?? [])
    }
  }
  boundary.done(t)
})

/** How many arguments a function declares, those with defaults counted. */
function arity(value: unknown): number {
  const whole = String(value).replaceAll(/\/\*[^]*?\*\//g, '')
  const source = isClass(value) ? /\n\s+constructor(\([^]*)/.exec(whole)?.[1] : whole
  // A class without a constructor has its parent's.
  if (source === undefined) return isClass(Object.getPrototypeOf(value)) ? arity(Object.getPrototypeOf(value)) : 0
  let [depth, count, empty] = [0, 1, true]
  for (const c of source.slice(source.indexOf('('))) {
    if ('([{'.includes(c)) depth += 1
    else if (')]}'.includes(c)) depth -= 1
    else if (c === ',' && depth === 1) count += 1
    else if (c.trim()) empty = false
    if (depth === 0) break
  }
  return empty ? 0 : count
}

test('what takes several arguments is called with good ones, too', async t => {
  t.deepEqual([(a: number, { b = [1, 2] } = {}) => [a, b], () => 1, class { x = 1 }, lib.AdamW].map(arity), [2, 0, 0, 2])
  const good = await goodArguments(await base(), await tuned())
  const members = (name: string, of: object, mark: string) => functions(of).map((method): [string, unknown] => [`${name}${mark}${method}`, (of as Record<string, unknown>)[method]])
  const named = Object.entries<unknown>({ ...lib }).filter(([name]) => name !== 'SwiftTunersError').flatMap(([name, value]): [string, unknown][] => {
    if (typeof value === 'object' && value !== null) return members(name, value, '.')
    if (!isClass(value)) return [[name, value]]
    return isConfig(value) ? [] : [[name, value], ...members(value.name, value, '.'), ...members(value.name, value.prototype, '#')]
  })
  t.true(named.length > 150)
  t.deepEqual(named.filter(([name, value]) => arity(value) > 1 && !(name in good)).map(([name]) => name), [], 'each is in `goodArguments`')
})

test.serial('methods', async t => {
  const [model, peft] = [await base(), await tuned()]
  const good = await goodArguments(model, peft)
  const tokenizer = await AutoTokenizer.fromPretrained(join(demo, 'base-model'))
  const optimizer = () => new AdamW([parameter()])
  const trainer = async () => {
    const trained = await tuned()
    return new lib.Trainer({ model: trained, train: batches, optimizer: new AdamW(trained.parameters()) })
  }
  const objects: Record<string, () => object | Promise<object>> = {
    Tensor: () => Tensor.from([[1, 2], [3, 4]]), Model: base, SwiftModel: swift, PeftModel: tuned, Parameter: parameter, AutoTokenizer: () => tokenizer,
    DecodeStream: () => tokenizer.decodeStream(), AdamW: optimizer, Trainer: trainer, LoraConfig: config, Dataset: data,
    // Not a promise here: whoever awaited it would get the run's end.
    // eslint-disable-next-line unicorn/no-thenable
    TrainingRun: async () => Object.defineProperty((await trainer()).run({ maxSteps: 1 }), 'then', { value: undefined }),
  }
  const changing = /unload|merge|delete|load|set|add|rename|step/i
  const boundary = new Boundary()
  const seen = new Set<string>()
  for (const make of Object.values(objects)) {
    const first = await make()
    for (let at = Object.getPrototypeOf(first); at !== Object.prototype; at = Object.getPrototypeOf(at)) {
      for (const method of functions(at)) {
        const name = `${at.constructor.name}#${method}`
        if (seen.has(name)) continue
        seen.add(name)
        const receiver = async () => {
          const object = await make() as Record<string, Call>
          return (...args: unknown[]) => object[method](...args)
        }
        await boundary.all(name, receiver, good[name] ?? [], changing.test(method) && at.constructor.name !== 'Tensor')
      }
    }
  }
  t.true(seen.has('Tensor#matmul') && seen.has('TunedModel#addWeightedAdapter') && seen.has('PeftModel#setAdapter'))
  const classes = Object.values<unknown>({ ...lib }).filter(isClass).filter(value => !isConfig(value))
  const all = new Set(classes.flatMap(value => functions(value.prototype).map(method => `${value.name}#${method}`)))
  t.deepEqual([...all].filter(name => !seen.has(name)), [], 'an object of each exported class is in `objects`')
  boundary.done(t)
})

test.serial('configurations: every field of every class', async t => {
  const boundary = new Boundary()
  for (const [name, value] of Object.entries<unknown>({ ...lib })) {
    if (!isClass(value) || !isConfig(value)) continue
    const fields = REQUIRED[name] ?? {}
    const make: Call = (...args) => new value(...args)
    t.notThrows(() => make(fields), name)
    for (const bad of BAD) await boundary.try(name, make, [bad])
    for (const field of Object.keys(new value(fields))) for (const bad of FEW) await boundary.try(`${name}.${field}`, make, [{ ...fields, [field]: bad }])
    t.false(await boundary.try(name, make, [{ ...fields, loraAlfa: 1 }]), `${name}: takes fields that it has not`)
  }
  boundary.done(t)
})

test.serial('inputs of a model', async t => {
  const model = await base()
  const boundary = new Boundary()
  for (const name of ['inputIds', 'inputsEmbeds', 'attentionMask', 'positionIds', 'labels', 'input', 'timestep', 'adapterNames', 'taskIds', 'target', 'nothing']) {
    for (const bad of BAD) {
      for (const inputs of [{ [name]: bad }, { inputIds: IDS, [name]: bad }]) await boundary.try(`forward ${name}`, () => model.forward(inputs), [])
    }
  }
  boundary.done(t)
})

test('the package\'s declarations are whole without those of the binding, which are not in it', t => {
  const files = readdirSync(join(root, 'dist/src'), { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.d.ts'))
  t.true(files.length > 40)
  t.deepEqual(files.filter(file => /native\/binding/.test(readFileSync(join(root, 'dist/src', file), 'utf8'))), [])
})
