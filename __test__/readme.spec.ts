/** The README's snippets, run as they stand, each in a process of its own over the demo model. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { demo, root, temp } from './support.js'

const blocks = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(m => m[1])

/** What the text around each snippet takes for given. */
const GIVEN: [string, string][] = [
  ["train: 'chats.jsonl'", ''],
  ['loadDataset', `
    const tokenizer = await AutoTokenizer.fromPretrained('path/to/model')
    const model = await Swift.prepareModel(await AutoModel.fromPretrained('path/to/model'), { a: new LoRAConfig({ targetModules: ['q_proj'] }) })
    const optimizer = new AdamW(model.parameters(), { lr: 1e-3 })
    const prompts = [{ prompt: 'Turn on' }, { prompt: 'Play' }]`],
  ['model.withActiveAdapters', "const base = await AutoModel.fromPretrained('path/to/model'); const inputs = { inputIds: [[5, 9, 2]] }"],
  ['Swift.mergeFiles', `
    const dir = 'path/to/model', inputIds = [[5, 9, 2], [4, 4, 8], [1, 2, 3]]
    const model = await Swift.prepareModel(await AutoModel.fromPretrained(dir), { style: new LoRAConfig({ targetModules: ['q_proj'] }), tone: new LoRAConfig({ targetModules: ['v_proj'] }) })
    model.eval()
    await model.savePretrained('adapter')`],
  ['model.generateSteps', `
    const tokenizer = await AutoTokenizer.fromPretrained('path/to/model')
    const model = await Swift.prepareModel(await AutoModel.fromPretrained('path/to/model', { dtype: 'f32' }), { a: new LoRAConfig({ targetModules: ['q_proj'] }) })
    const optimizer = new AdamW(model.parameters(), { lr: 1e-3 })
    const rows = Array.from({ length: 8 }, (_, i) => [i + 1, i + 2, i + 3]), held = [{ inputIds: [rows[0]], labels: [rows[0]] }]
    const shuffled = (list, epoch, seed) => list.map((row, i) => [(i * 5 + epoch + seed) % 8, row]).sort((a, b) => a[0] - b[0]).map(([, row]) => row)
    const batches = list => list.map(row => ({ inputIds: [row], labels: [row] }))
    const inputIds = [[5, 9, 2]]`],
]

test('every snippet is known here', t => t.deepEqual(blocks.map(b => GIVEN.filter(([part]) => b.includes(part)).length), blocks.map(() => 1)))

for (const [part, given] of GIVEN) {
  test(`the snippet with ${part} runs`, t => {
    const code = blocks.find(b => b.includes(part))!.replace(/^import .*$/m, '')
    const cwd = temp()
    mkdirSync(join(cwd, 'path/to'), { recursive: true })
    symlinkSync(join(demo, 'base-model'), join(cwd, 'path/to/model'))
    const said = (role: string, content: string) => ({ role, content })
    const lines = (of: (i: number) => object) => Array.from({ length: 20 }, (_, i) => JSON.stringify(of(i))).join('\n')
    const chats = lines(i => ({ messages: [said('user', `Light ${i}?`), said('assistant', `{"on": ${i}}`)] }))
    mkdirSync(join(cwd, 'chats'))
    for (const file of ['chats.jsonl', 'chats/a.jsonl']) writeFileSync(join(cwd, file), chats)
    writeFileSync(join(cwd, 'pairs.jsonl'), lines(i => ({ prompt: [said('user', `Light ${i}?`)], chosen: [said('assistant', 'on')], rejected: [said('assistant', 'off')] })))
    const script = `
      const { AdamW, AdapterConfig, AutoModel, AutoTokenizer, batches, DPOTrainer, encodeDataset, GRPOTrainer, loadDataset, LoRAConfig, LoraConfig, SFTTrainer, Swift, Trainer } = require(${JSON.stringify(join(root, 'dist/index.js'))})
      ;(async () => { ${given}\n{ ${code} } })().catch(error => { console.error(error); process.exitCode = 1 })`
    const { status, stderr } = spawnSync(process.execPath, ['-e', script], { cwd, encoding: 'utf8' })
    t.is(status, 0, stderr)
    if (part.includes('chats.jsonl')) t.true(existsSync(join(cwd, 'for-peft/mine/adapter_model.safetensors')))
  })
}
