/**
 * Both sides in one go: every figure here and with PEFT on PyTorch, in turn, round after round, with as many threads.
 *
 *   npm run bench [-- --rounds 3] [--only REGEX] [--threads N] [--ours]
 *
 * PEFT's side needs a Python with torch, transformers and peft (`PYTHON`, default python3). A ratio above 1 is how many times
 * faster (or smaller) this side is: the quotient of the medians over all rounds.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { AutoModel, LoraConfig, Swift } from '../index.js'
import { adapterDirectory, ALL_LINEAR, type Figure, FIGURES, makeModels } from './figures.js'

const root = resolve(__dirname, '../..')
const dir = join(root, '.build/bench')
const python = process.env.PYTHON ?? 'python3'

function option(name: string): string | undefined {
  const i = process.argv.indexOf(`--${name}`)
  return i < 0 ? undefined : process.argv[i + 1]
}
const rounds = Number(option('rounds') ?? 3)
const threads = Number(option('threads') ?? availableParallelism())
const only = new RegExp(option('only') ?? '')
const alone = process.argv.includes('--ours')

function measured(command: string, args: string[]): { values: number[]; wall: number } {
  const started = performance.now()
  const run = spawnSync(command, args, {
    encoding: 'utf8', env: { ...process.env, RAYON_NUM_THREADS: String(threads), HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false' },
  })
  const wall = (performance.now() - started) / 1000
  if (run.status !== 0) throw new Error(`${command} ${args.join(' ')}\n${run.stderr}`)
  return { values: JSON.parse(run.stdout.trim().split('\n').at(-1)!).values, wall }
}

const median = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}

function show(value: number, unit: Figure['unit']): string {
  if (unit === 'MiB') return `${value.toFixed(0)} MiB`
  if (unit === 's') return `${value.toFixed(2)} s`
  const ms = value * 1000
  return `${ms < 0.1 ? ms.toFixed(4) : ms < 10 ? ms.toFixed(2) : ms.toFixed(1)} ms`
}

async function main(): Promise<void> {
  const figures = FIGURES.filter(f => only.test(f.name))
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'figures.json'), JSON.stringify(FIGURES))
  await makeModels(dir, figures.map(f => f.model))
  for (const name of new Set(figures.filter(f => /adapters|disk/.test(f.name)).map(f => f.model))) {
    if (existsSync(adapterDirectory(dir, name))) continue
    const config = new LoraConfig({ r: 8, loraAlpha: 16, targetModules: ALL_LINEAR, initLoraWeights: false, taskType: 'CAUSAL_LM' })
    await (await Swift.prepareModel(await AutoModel.fromPretrained(join(dir, name)), config)).savePretrained(adapterDirectory(dir, name))
  }
  const best = (command: string, args: string[]) => Math.max(...Array.from({ length: 3 }, () => measured(command, args).values[0]))
  const products = [best(process.execPath, [join(__dirname, 'ours.js'), 'gemm peak', dir])]
  if (!alone) products.push(best(python, [join(root, 'bench/peft_side.py'), 'gemm peak', dir, String(threads)]))
  const peak = Math.max(...products)
  const versions = alone ? '' : spawnSync(python, ['-c', 'import torch, peft, transformers; print(f"torch {torch.__version__}, peft {peft.__version__}, transformers {transformers.__version__}")'], { encoding: 'utf8' }).stdout.trim()
  console.log(`${cpus()[0].model.trim()}, ${threads} threads; Node ${process.version}; ${versions}; ${new Date().toISOString().slice(0, 10)}; `
    + `best f32 product ${products.map(p => (p / 1e9).toFixed(0)).join(' and ')} GFLOP/s; medians of ${rounds} rounds\n`)
  console.log('| figure | swift-tuners | PEFT | ratio | share of peak, here and PEFT |')
  console.log('| --- | --- | --- | --- | --- |')
  for (const figure of figures) {
    const [ours, theirs]: [number[], number[]] = [[], []]
    // A start is the whole process.
    const take = (run: { values: number[]; wall: number }) => (figure.name.startsWith('start') ? [run.wall] : run.values)
    for (let round = 0; round < rounds; round++) {
      ours.push(...take(measured(process.execPath, [join(__dirname, 'ours.js'), figure.name, dir])))
      if (!alone) theirs.push(...take(measured(python, [join(root, 'bench/peft_side.py'), figure.name, dir, String(threads)])))
    }
    const [a, b] = [median(ours), alone ? NaN : median(theirs)]
    const share = (time: number) => `${(100 * figure.flops! / time / peak).toFixed(0)} %`
    console.log(`| ${figure.name} | ${show(a, figure.unit)} | ${alone ? '' : show(b, figure.unit)} | ${alone ? '' : `${(b / a).toFixed(2)}×`} | `
      + `${figure.flops && !alone ? `${share(a)}, ${share(b)}` : ''} |`)
  }
}

main().catch(error => {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
})
