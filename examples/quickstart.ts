/**
 * The main job: a real language model learns a task through LoRA.
 *
 *   npm run quickstart
 *
 * Set `QUICKSTART_STEPS` for a shorter run. The adapter, the loss curve and the log go to `quickstart-output/`.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { AdamW, AutoModel, AutoTokenizer, LoRAConfig, type Model, SFTTrainer, Swift } from '../index.js'
import { collate, encodeRow, greedyAnswers, promptOf, readRows } from './support/chat.js'
import { curveInTerminal, curveSvg } from './support/curve.js'
import { Progress } from './support/progress.js'

const root = resolve(__dirname, '../..')
const demo = join(root, 'examples/demo')
const output = join(root, 'quickstart-output')
const SAMPLES = ['Turn on the light in the kitchen.', 'Could you warm the library to 21 degrees?', 'Play some harp music in the office, please.']
const BATCH = 12
const LEARNING_RATE = 5e-3

async function main(): Promise<void> {
  const steps = Number(process.env.QUICKSTART_STEPS ?? 288)
  const interrupted = new AbortController()
  process.once('SIGINT', () => {
    console.log('\nstopping after this step (Ctrl-C)')
    interrupted.abort(new Error('interrupted'))
  })
  const started = performance.now()
  const tokenizer = await AutoTokenizer.fromPretrained(join(demo, 'base-model'))
  const base = await AutoModel.fromPretrained(join(demo, 'base-model'), { dtype: 'f32' })
  console.log(`Model: ${base.config.model_type}, ${base.namedParameters().reduce((n, p) => n + p.numel, 0).toLocaleString('en')} parameters. `
    + 'Task: turn requests at home into JSON tool calls.\n')

  const answers = (model: Model, prompts: string[]) => greedyAnswers(model, tokenizer, prompts.map(p => promptOf(tokenizer, p)))
  const before = await answers(base, SAMPLES)
  console.log('The base model answers:')
  show(before)

  const held = ['test', 'test-rephrased'].map(split => ({ split, rows: readRows(join(demo, `dataset/${split}.jsonl`)) }))
  const score = async (model: Model) => {
    const out: Record<string, number> = {}
    for (const { split, rows } of held) {
      const given = await answers(model, rows.map(r => r.prompt))
      out[split] = given.filter((a, i) => a === rows[i].completion).length / rows.length
    }
    return out
  }
  const scoreBefore = await score(base)

  // Fine-tuning: LoRA of rank 8 on every linear layer of the blocks, in SWIFT's way.
  const config = new LoRAConfig({
    r: 8,
    loraAlpha: 16,
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  })
  const model = await Swift.prepareModel(base, { tools: config })
  console.log(model.getTrainableParameters())
  mkdirSync(output, { recursive: true })
  const trainer = new SFTTrainer({
    model,
    tokenizer,
    train: join(demo, 'dataset/train.jsonl'),
    batchSize: BATCH,
    shuffle: false,
    optimizer: new AdamW(model.parameters(), { lr: LEARNING_RATE, weightDecay: 0 }),
    schedule: { name: 'linear' },
    logFile: join(output, 'training.jsonl'),
  })
  writeFileSync(join(output, 'training.jsonl'), '')
  const losses: number[] = []
  const progress = new Progress(steps)
  const trainingStarted = performance.now()
  try {
    for await (const step of trainer.run({ maxSteps: steps, signal: interrupted.signal })) {
      losses.push(step.loss)
      progress.update(step.step, `loss ${step.loss.toFixed(4)}`)
    }
  } catch (error) {
    progress.end()
    if (!interrupted.signal.aborted) throw error
    console.log(`interrupted after ${losses.length} steps; nothing was saved`)
    process.exitCode = 130
    return
  }
  progress.end()
  const seconds = (performance.now() - trainingStarted) / 1000
  model.eval()

  console.log('\nThe same requests after fine-tuning:')
  const after = await answers(model, SAMPLES)
  show(after)
  const scoreAfter = await score(model)
  const percent = (x: number) => `${(100 * x).toFixed(1)} %`
  for (const { split, rows } of held) {
    console.log(`exact match on ${split} (${rows.length} unseen requests): ${percent(scoreBefore[split])} → ${percent(scoreAfter[split])}`)
  }
  const peft = yardstick()
  if (steps === 288) console.log(`PEFT with the same settings and another start: ${percent(peft.test)} and ${percent(peft['test-rephrased'])}`)

  // Save, load into a fresh base, merge: three ways to the same answers.
  const adapter = join(output, 'adapter')
  await model.savePretrained(adapter)
  const probe = collate(held[0].rows.slice(0, 4).map(row => encodeRow(tokenizer, row)), tokenizer.padTokenId ?? 0)
  const logits = async (m: Model) => (await m.forward({ inputIds: probe.inputIds, attentionMask: probe.attentionMask })).logits!.data()
  const tuned = await logits(model)
  const fresh = await AutoModel.fromPretrained(join(demo, 'base-model'), { dtype: 'f32' })
  const loaded = await Swift.fromPretrained(fresh, adapter)
  const gap = (a: ArrayLike<unknown>, b: ArrayLike<unknown>) => {
    let worst = 0
    for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(Number(a[i]) - Number(b[i])))
    return worst
  }
  check('loaded into a fresh base', gap(tuned, await logits(loaded)), 0)
  await Swift.mergeAndUnload(loaded)
  check('merged into the weights', gap(tuned, await logits(loaded)), 1e-4)

  console.log(`\n${curveInTerminal(losses)}`)
  const picture = join(output, 'loss.svg')
  writeFileSync(picture, curveSvg(losses, 'LoRA fine-tuning: loss per step'))
  console.log(`training took ${seconds.toFixed(1)} s, everything ${((performance.now() - started) / 1000).toFixed(1)} s`)
  console.log(`
Written: ${relative(process.cwd(), adapter) || '.'}/ (the adapter), ${relative(process.cwd(), picture)} and training.jsonl beside it.

With a model of your own:
  const base = await AutoModel.fromPretrained('path/to/model')        // Llama, Mistral, Qwen, Phi-3, Gemma 3, GPT-2, T5, BERT, RoBERTa, ViT
  const model = await Swift.prepareModel(base, { mine: new LoRAConfig({ r: 8, targetModules: 'all-linear' }) })
  … train as in examples/quickstart.ts, then await model.savePretrained('my-adapter')
  await Swift.saveToPeftFormat('my-adapter', 'for-python')            // Python's PEFT loads for-python/mine`)
}

function show(answers: string[]): void {
  SAMPLES.forEach((prompt, i) => console.log(`  ${prompt}\n    → ${answers[i]}`))
  console.log()
}

function check(what: string, gap: number, tolerance: number): void {
  console.log(`${what}: outputs differ by ${gap.toExponential(1)} at most`)
  if (!(gap <= tolerance)) throw new Error(`${what}: ${gap} is more than ${tolerance}`)
}

function yardstick(): Record<string, number> {
  const file = join(demo, 'yardstick.json')
  if (!existsSync(file)) return {}
  const after = JSON.parse(readFileSync(file, 'utf8')).cases['lora-r8-all-linear'].after
  return { test: after.test.exactMatch, 'test-rephrased': after['test-rephrased'].exactMatch }
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
