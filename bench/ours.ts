/** Measures one figure in a process of its own and prints `{ "values": [...] }`: `node dist/bench/ours.js FIGURE DIRECTORY`. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AdamW, AutoModel, LoraConfig, type LoadOptions, type ModelInputs, nn, PeftConfig, PeftModel, Swift, Tensor } from '../index.js'
import { adapterDirectory, ALL_LINEAR, BERT_QV, type Figure, FIGURES, ids, LORA_RANK, QV, SHAPES, TYPES } from './figures.js'

const [name, dir] = process.argv.slice(2)
const figure = FIGURES.find(f => f.name === name) ?? ({ name, model: 'S', unit: 's', repeats: 12 } satisfies Figure)
const at = join(dir, figure.model)
const load = (options: LoadOptions = {}) => AutoModel.fromPretrained(at, { dtype: 'f32', ...options })
const lora = (targetModules: string[], more: object = {}) => new LoraConfig({ r: LORA_RANK, loraAlpha: 16, targetModules, initLoraWeights: false, ...more })
const seconds = async (work: () => unknown) => {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

/** Two calls to warm up, then the timed ones. */
async function repeat(work: () => unknown, warm = 2): Promise<number[]> {
  for (let i = 0; i < warm; i++) await work()
  const values: number[] = []
  for (let i = 0; i < figure.repeats; i++) values.push(await seconds(work))
  return values
}

const batch = (): ModelInputs => {
  const { rows, tokens } = figure.model === 'large' ? { rows: 1, tokens: 64 } : SHAPES[figure.model]
  return { inputIds: ids(rows, tokens) }
}

async function step(config: PeftConfig, options?: LoadOptions): Promise<() => Promise<void>> {
  const model = await Swift.prepareModel(await load(options), config)
  model.train()
  const optimizer = new AdamW(model.parameters(), { lr: 1e-4 })
  const inputs = { ...batch(), ...('nTasks' in config || 'numTasks' in config ? { taskIds: [0, 1, 0, 1] } : {}) }
  const loss = figure.model === 'MiniLM'
    ? async () => (await model.forward(inputs)).lastHiddenState!.sqr().mean()
    : async () => (await model.forward({ ...inputs, labels: inputs.inputIds })).loss!
  return async () => {
    optimizer.zeroGrad()
    await (await loss()).backward()
    await optimizer.step()
  }
}

async function forward(options?: LoadOptions): Promise<number[]> {
  const model = await load(options)
  model.eval()
  const inputs = batch()
  return repeat(() => model.forward(inputs, { grad: false }))
}

/** A batch with an adapter by name for each row. */
async function rows(adapterNames: string[]): Promise<number[]> {
  const model = await Swift.prepareModel(await load(), lora(ALL_LINEAR))
  for (const name of ['b', 'c', 'd']) await model.addAdapter(name, lora(ALL_LINEAR))
  model.eval()
  const inputs = { ...batch(), adapterNames }
  return repeat(() => model.forward(inputs, { grad: false }))
}

async function tiny(layers: number): Promise<number[]> {
  const model = await AutoModel.fromModules(nn.sequential(Object.fromEntries(Array.from({ length: layers }, (_, i) => [`l${i}`, nn.linear(8, 8)]))))
  const input = Tensor.from(new Float32Array(8), [1, 8])
  return repeat(() => model.forwardSync({ input }, { grad: false }), 100)
}

async function generate(rows: number, options?: LoadOptions): Promise<number[]> {
  const model = await load(options)
  return repeat(async () => {
    let count = 0
    for await (const tokens of model.generate({ inputIds: ids(rows, 16) }, { maxNewTokens: 48, eosTokenId: [] })) count += tokens.length
    if (count !== 48 * rows) throw new Error(`${count} tokens`)
  }, 1)
}

async function mergeOnDisk(): Promise<number[]> {
  return repeat(async () => {
    const out = mkdtempSync(join(tmpdir(), 'swift-tuners-bench-'))
    await Swift.mergeFiles(at, adapterDirectory(dir, figure.model), join(out, 'merged'), { maxShardSize: '200MB' })
    rmSync(out, { recursive: true })
  }, 0)
}

/** The most memory that this process has had, in MiB. */
const peak = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024

/** A training step with one of PEFT's types. */
async function type(name: string): Promise<number[]> {
  return repeat(await step(PeftConfig.fromJSON({ peft_type: name, ...TYPES[name] })))
}

const work: Record<string, () => Promise<number[]>> = {
  ...Object.fromEntries(Object.keys(TYPES).map(name => [`type ${name}`, () => type(name)])),
  // Operations per second of the best of some products, as on PEFT's side.
  'gemm peak': async () => {
    const n = 2048
    const model = await AutoModel.fromModules(nn.sequential({ product: nn.linear(n, n, { bias: false }) }))
    const input = Tensor.from(Float32Array.from({ length: n * n }, (_, i) => (i * 7919 % 1009) / 1009 - 0.5), [n, n])
    return [2 * n ** 3 / Math.min(...await repeat(() => model.forward({ input }, { grad: false })))]
  },
  // Measured from outside.
  'start to first forward': async () => [await seconds(async () => (await load()).forward({ inputIds: ids(1, 16) }, { grad: false }))],
  'load base': () => repeat(async () => (await load()).dispose()),
  'load 20 adapters': async () => {
    const adapter = adapterDirectory(dir, figure.model)
    const values: number[] = []
    for (let i = 0; i < figure.repeats; i++) {
      const model = await PeftModel.fromPretrained(await load(), adapter)
      values.push(await seconds(async () => {
        for (let j = 0; j < 20; j++) await model.loadAdapter(adapter, `a${j}`)
      }))
    }
    return values
  },
  'forward S': () => forward(),
  'forward M': () => forward(),
  'forward MiniLM': () => forward(),
  'step S, q and v': async () => repeat(await step(lora(QV))),
  'step S, all linear': async () => repeat(await step(lora(ALL_LINEAR))),
  'step M, q and v': async () => repeat(await step(lora(QV))),
  'step M, all linear': async () => repeat(await step(lora(ALL_LINEAR))),
  'step M, DoRA q and v': async () => repeat(await step(lora(QV, { useDora: true }))),
  'step M, all linear, NF4': async () => repeat(await step(lora(ALL_LINEAR), { quantization: 'nf4' })),
  'forward M, bf16': () => forward({ dtype: 'bf16' }),
  'generate 48 tokens, bf16': () => generate(1, { dtype: 'bf16' }),
  'generate 48 tokens, NF4': () => generate(1, { quantization: 'nf4' }),
  'step MiniLM, q and v': async () => repeat(await step(lora(BERT_QV))),
  'generate 48 tokens, batch 1': () => generate(1),
  'generate 48 tokens, batch 8': () => generate(8),
  'forward M, one adapter': () => rows(['default', 'default', 'default', 'default']),
  'forward M, four adapters': () => rows(['default', 'b', 'c', 'd']),
  // What the way to the core and back costs, and with a hundred layers what each module's door costs: products are tiny.
  'call of a linear layer': () => tiny(1),
  'layers of a call, 100': () => tiny(100),
  'switch adapters': async () => {
    const model = await Swift.prepareModel(await load(), lora(ALL_LINEAR))
    await model.addAdapter('b', lora(ALL_LINEAR))
    let i = 0
    return repeat(() => model.setAdapter(i++ % 2 ? 'b' : 'default'))
  },
  'merge and unmerge': async () => {
    const model = await Swift.prepareModel(await load(), lora(ALL_LINEAR))
    return repeat(async () => {
      await Swift.merge(model)
      await Swift.unmerge(model)
    })
  },
  'merge on disk, 200 M': mergeOnDisk,
  'peak memory: step M, all linear': async () => {
    await repeat(await step(lora(ALL_LINEAR)))
    return [peak()]
  },
  'peak memory: step 200 M, NF4': async () => {
    await repeat(await step(lora(ALL_LINEAR), { quantization: 'nf4' }))
    return [peak()]
  },
  'peak memory: merge on disk': async () => {
    await mergeOnDisk()
    return [peak()]
  },
}

work[name]().then(values => console.log(JSON.stringify({ values })), error => {
  console.error(error)
  process.exit(1)
})
