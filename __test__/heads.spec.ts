/** Models with heads, and LoRAs on them, against transformers and PEFT (fixtures/heads/make.py). */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AdamW, AutoModel, LoraConfig, type ModelInputs, PeftModel, readSafetensors, Swift, type Tensor } from '../index.js'
import { failsWith, fixtures, gap, numbers, temp } from './support.js'

const folder = join(fixtures, 'heads')
const camel = (name: string) => name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase())
const tuned = async (name: string) =>
  PeftModel.fromPretrained(await AutoModel.fromPretrained(join(folder, name, 'model'), { dtype: 'f32' }), join(folder, name, 'adapter'), { isTrainable: true, strict: true })

for (const name of readdirSync(folder).filter(n => statSync(join(folder, n)).isDirectory())) {
  test(`${name}: outputs, loss and gradients equal Python's`, async t => {
    const values = await readSafetensors(join(folder, name, 'values.safetensors'))
    const part = (prefix: string) => Object.entries(values).filter(([k]) => k.startsWith(prefix)).map(([k, v]) => [k.slice(prefix.length), v] as const)
    const model = (await tuned(name)).eval()
    const out = await model.forward(Object.fromEntries(part('in.').map(([k, v]) => [camel(k), v])) as ModelInputs)
    for (const [key, expected] of part('out.')) t.true(gap(numbers(out[camel(key) as keyof typeof out] as Tensor), numbers(expected)) < 1e-5, key)
    const loss = out.loss ?? out.lastHiddenState!.sqr().mean()
    t.true(gap([loss.item()], numbers(values.loss)) < 1e-5, 'loss')
    await loss.backward()
    const grads = part('grad.')
    t.deepEqual(model.parameters().map(p => p.name).sort(), grads.map(([n]) => n).sort())
    for (const [key, expected] of grads) t.true(gap(numbers(model.gradient(key)!), numbers(expected)) < 1e-5, key)
  })
}

test('the head of a task trains, is saved, and comes back', async t => {
  for (const [name, task, head] of [['llama-tokens', 'TOKEN_CLS', 'score'], ['bert-tokens', 'TOKEN_CLS', 'classifier'], ['gpt2-answers', 'QUESTION_ANS', 'qa_outputs']]) {
    const load = () => AutoModel.fromPretrained(join(folder, name, 'model'), { dtype: 'f32' })
    const inputs: ModelInputs = task === 'TOKEN_CLS'
      ? { inputIds: [[5, 9, 2]], labels: [[1, 0, 2]] }
      : { inputIds: [[5, 9, 2]], startPositions: [1], endPositions: [2] }
    const model = await Swift.prepareModel(await load(), new LoraConfig({ taskType: task, r: 2 }))
    t.true(model.parameters().some(p => p.name.includes(`${head}.modules_to_save.default.weight`)), name)
    const optimizer = new AdamW(model.parameters(), { lr: 0.02 })
    const loss = async () => (await model.forward(inputs)).loss!
    const before = (await loss()).item()
    for (let i = 0; i < 60; i++) {
      await (await loss()).backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
    const after = (await model.eval().forward(inputs)).loss!.item()
    t.true(after < before / 2, `${name}: ${before} → ${after}`)
    const dir = temp()
    await model.savePretrained(dir)
    const again = await PeftModel.fromPretrained(await load(), dir, { strict: true })
    t.is((await again.eval().forward(inputs)).loss!.item(), after)
  }
})

test('mistakes with heads name what is wrong', async t => {
  const answers = await AutoModel.fromPretrained(join(folder, 'llama-answers', 'model'))
  t.regex((await failsWith(t, 'ERR_INVALID_ARGUMENT', () => answers.forward({ inputIds: [[1, 2]], startPositions: [0] }))).message, /endPositions/)
  const tokens = await AutoModel.fromPretrained(join(folder, 'llama-tokens', 'model'))
  t.regex((await failsWith(t, 'ERR_SHAPE', () => tokens.forward({ inputIds: [[1, 2]], labels: [[0, 1, 2]] }))).message, /labels/)
})
