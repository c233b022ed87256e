import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AutoModel, PeftModel, readSafetensors, Tensor, writeSafetensors } from '../index.js'
import { curveSvg, smoothed, ticks } from '../src/command/curve.js'
import { learnedText } from '../src/command/token-text.js'
import { command, model, rows, short } from './command.js'
import { base, fixtures, gap, IDS, logits, lora, modelFolder, readJson, temp } from './support.js'
import { Swift } from '../index.js'

/** An adapter that some steps have trained, once for all tests. */
let trained = ''
test.before(async () => {
  const { stdout } = await command(short(temp(), 16, '--per_device_train_batch_size', '8'))
  trained = (JSON.parse(stdout) as { last_model_checkpoint: string }).last_model_checkpoint
})
const lines = (file: string) => readFileSync(file, 'utf8').trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)

test('infer answers a dataset into a file, by the adapter\'s own base and template, the same in batches and one by one', async t => {
  const [one, many] = [join(temp(), 'a/one.jsonl'), join(temp(), 'many.jsonl')]
  const args = ['infer', '--adapters', trained, '--val_dataset', `${rows('test')}#6`, '--max_new_tokens', '24', '--json']
  const first = await command([...args, '--result_path', one, '--max_batch_size', '1'])
  t.is(first.status, 0, first.stderr)
  t.like(JSON.parse(first.stdout), { result_path: one, rows: 6 })
  const second = await command([...args, '--result_path', many])
  t.is(second.status, 0, second.stderr)
  const found = lines(one)
  t.is(found.length, 6)
  for (const row of found) t.deepEqual(Object.keys(row), ['response', 'labels', 'messages'])
  t.true(found.some(row => String(row.response).includes('"tool"')))
  t.deepEqual(lines(many).map(row => row.response), found.map(row => row.response))
})

test('infer chats, switches adapters, and knows its commands', async t => {
  const ask = 'Turn on the light in the kitchen.'
  const input = [ask, '/adapter', ask, '/adapter nix', '/adapter mine', '/clear', ask, '/system Be brief.', '/help', '/exit', 'never read'].join('\n')
  const args = ['infer', '--adapters', `mine=${trained}`, '--max_new_tokens', '12']
  const { status, stdout, stderr } = await command(args, { input })
  t.is(status, 0, stderr)
  const answers = stdout.trimEnd().split('\n')
  t.is(answers.length, 3)
  t.regex(answers[0], /"tool"/)
  t.not(answers[1], answers[0])
  t.is(answers[2], answers[0])
  t.regex(stderr, /there is no adapter nix; there are mine/)
  t.regex(stderr, /\/system TEXT/)
  const whole = await command([...args, '--stream', 'false'], { input: `${ask}\n` })
  t.is(whole.stdout.trimEnd(), answers[0])
})

test('eval has the base beside the adapter', async t => {
  const args = ['eval', '--adapters', trained, '--val_dataset', `${rows('test')}#12`]
  const { status, stdout, stderr } = await command([...args, '--json', '--max_new_tokens', '30'])
  t.is(status, 0, stderr)
  const { base: before, default: after } = JSON.parse(stdout) as Record<string, Record<string, number>>
  t.true(after.loss < 0.7 * before.loss)
  t.true(after.token_acc > before.token_acc)
  t.true(Math.abs(after.perplexity - Math.exp(after.loss)) < 1e-9)
  t.is(after.rows, 12)
  t.is(before.tokens, after.tokens)
  const shown = await command([...args, '--metric', 'loss'])
  t.regex(shown.stdout, /^ +base +default\n/)
  t.regex(shown.stdout, /token accuracy +\d+\.\d % +\d+\.\d %/)
  t.notRegex(shown.stdout, /exact match/)
})

test('export merges an adapter into its base: the model answers as both together', async t => {
  const out = join(temp(), 'merged')
  const { status, stderr } = await command(['export', '--adapters', trained, '--merge_lora', '--output_dir', out, '--torch_dtype', 'float32'])
  t.is(status, 0, stderr)
  const tuned = await PeftModel.fromPretrained(await AutoModel.fromPretrained(model), trained)
  const merged = await AutoModel.fromPretrained(out)
  t.true(gap(await logits(tuned.eval()), await logits(merged)) < 1e-3)
  t.true(gap(await logits(await AutoModel.fromPretrained(model)), await logits(merged)) > 1e-2)
  const again = await command(['export', '--adapters', trained, '--merge_lora', '--output_dir', out])
  t.is(again.status, 2)
  t.regex(again.stderr, /is there already; --exist_ok replaces it/)
  t.is((await command(['export', '--adapters', trained])).status, 2)
})

test('export writes SWIFT\'s LoRAs as PEFT reads them', async t => {
  const [swift, peft] = [join(temp(), 'swift'), join(temp(), 'peft')]
  const tuned = await Swift.prepareModel(await base(), { default: lora() })
  await tuned.savePretrained(swift)
  const { status, stderr } = await command(['export', '--adapters', swift, '--to_peft_format', '--output_dir', peft])
  t.is(status, 0, stderr)
  const loaded = await PeftModel.fromPretrained(await base(), peft)
  t.is(gap(await logits(loaded.eval()), await logits(tuned.eval())), 0)
})

test('inspect tells what a model is, and which modules are targets', async t => {
  const { status, stdout, stderr } = await command(['inspect', model, '--target_modules', 'q_proj', 'v_proj'])
  t.is(status, 0, stderr)
  t.regex(stdout, /LlamaForCausalLM, 3\.8 M parameters in 7\.3 MiB of bf16, context 256/)
  t.regex(stdout, /\(0-3\): 4 x \(/)
  t.regex(stdout, /q_proj +4 +\[256, 256\]/)
  t.regex(stdout, /q_proj v_proj: 8 modules/)
  t.true(stdout.split('\n').slice(1).every(line => line.length <= 80))
})

test('inspect tells a sound adapter from one that has no effect, holds NaN, or fits another base', async t => {
  const ask = async (folder: string, ...more: string[]) => {
    const run = await command(['inspect', folder, '--json', ...more])
    return { status: run.status, report: JSON.parse(run.stdout)[0] as { tuner: string; problems: string[]; notes: string[] } }
  }
  const sound = await ask(trained)
  t.is(sound.status, 0)
  t.like(sound.report, { tuner: 'LORA', problems: [] })
  t.true(sound.report.notes.some(note => /56 LoRA matrices fit/.test(note)))

  const other = await ask(trained, '--model', modelFolder('llama'))
  t.is(other.status, 1)
  t.true(other.report.problems.some(problem => /lora_A is \[8, 256\], and the base's weight/.test(problem)), other.report.problems.join())

  const [fresh, broken] = [join(temp(), 'fresh'), join(temp(), 'broken')]
  const untrained = await Swift.prepareModel(await base(), { default: lora({ initLoraWeights: true }) })
  await untrained.savePretrained(fresh)
  t.true((await ask(fresh, '--model', modelFolder('llama'))).report.problems.some(problem => /no effect/.test(problem)))

  cpSync(trained, broken, { recursive: true })
  const file = join(broken, 'adapter_model.safetensors')
  const state = await readSafetensors(file)
  const [name] = Object.keys(state)
  await writeSafetensors(file, { ...state, [name]: Tensor.from(Float32Array.from({ length: state[name].shape.reduce((a, b) => a * b, 1) }, (_, i) => (i === 3 ? NaN : 1)), state[name].shape) })
  const nan = await ask(broken)
  t.is(nan.status, 1)
  t.true(nan.report.problems.some(problem => problem.includes(name) && /1 of \d+ values are NaN/.test(problem)))

  const nothing = join(temp(), 'nothing')
  mkdirSync(nothing)
  t.is((await command(['inspect', nothing])).status, 2)
})

test('inspect tells of a run, and of files that are cut off', async t => {
  const run = await command(['inspect', join(trained, '..')])
  t.is(run.status, 0, run.stderr)
  t.regex(run.stdout, /a run of lora on .*base-model\ncheckpoints: checkpoint-16\nlast step: loss/)
  const cut = join(temp(), 'cut')
  cpSync(trained, cut, { recursive: true })
  writeFileSync(join(cut, 'adapter_model.safetensors'), readFileSync(join(trained, 'adapter_model.safetensors')).subarray(0, 40))
  const { status, stderr } = await command(['inspect', cut])
  t.is(status, 1)
  t.regex(stderr, /a header of \d+ bytes in a file of 40/)
})

test('data shows what the loss counts, and counts what is dropped', async t => {
  const shown = await command(['data', '--model', model, '--dataset', rows('train'), '--num_rows', '1'])
  t.is(shown.status, 0, shown.stderr)
  t.regex(shown.stdout, /row 0: 37 tokens, 23 trained\n {2}user: Make the office light 80 bright\.⏎\n {2}assistant:« \{"tool": "dim", "room": "office", "level": 80\}<\|endoftext\|>»/)
  t.regex(shown.stdout, /288 rows, [\d,]+ tokens/)
  const cwd = temp()
  writeFileSync(join(cwd, 'rows.jsonl'), [{ prompt: 'a', completion: 'b' }, { prompt: 'a', completion: 'word '.repeat(40) }].map(row => JSON.stringify(row)).join('\n'))
  const counted = await command(['data', '--model', model, '--dataset', 'rows.jsonl', '--max_length', '20', '--json'], { cwd })
  t.like(JSON.parse(counted.stdout), { rows: 2, too_long: 1, unusable: 0 })
  const pairs = await command(['data', '--model', model, '--dataset', join(fixtures, 'datasets/preference-trl-explicit-text/data.jsonl')])
  t.is(pairs.status, 1)
})

test('spans are coloured, lines are no wider than they may be, and control characters are not sent', t => {
  const parts = [{ text: 'user: \u001b[31mhi\n', trained: false }, { text: 'yes', trained: true }]
  t.is(learnedText(parts, { colour: false, width: 80 }), '  user: ␛[31mhi⏎\n  «yes»')
  t.is(learnedText(parts, { colour: true, width: 80 }), '  user: ␛[31mhi⏎\n  \u001b[1;32myes\u001b[0m')
  const long = learnedText([{ text: 'x'.repeat(300), trained: true }], { colour: true, width: 40 }).split('\n')
  // eslint-disable-next-line no-control-regex
  t.true(long.length > 7 && long.every(line => line.replace(/\u001b\[[\d;]*m/g, '').length <= 40 && (line.match(/\u001b\[1;32m/g) ?? []).length === (line.match(/\u001b\[0m/g) ?? []).length))
})

test('characters that are twice as wide count so', t => {
  const found = learnedText([{ text: '灯'.repeat(60), trained: false }], { colour: false, width: 42 }).split('\n')
  t.deepEqual(found.map(line => line.trim().length), [19, 19, 19, 3])
})

test('curves have round axes, a legend and a smoothed form', t => {
  t.deepEqual(ticks(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1])
  t.deepEqual(ticks(3, 47), [0, 10, 20, 30, 40, 50])
  t.true(ticks(2, 2).length >= 2)
  t.deepEqual(smoothed([[1, 5], [2, 5]]).map(([x, y]) => [x, Number(y.toFixed(9))]), [[1, 5], [2, 5]])
  const svg = curveSvg('a < b', [{ name: 'loss', points: Array.from({ length: 30 }, (_, i) => [i + 1, 3 / (i + 1)]) }])
  t.regex(svg, /a &#60; b/)
  t.regex(svg, />loss, smoothed</)
  t.notRegex(svg, /NaN|undefined|Infinity/)
})

test('the loss that eval measures is the model\'s', async t => {
  const file = join(temp(), 'ids.jsonl')
  writeFileSync(file, IDS.map(ids => JSON.stringify({ input_ids: ids })).join('\n'))
  const out = await (await base('llama')).forward({ inputIds: IDS, labels: IDS })
  const folder = temp()
  cpSync(modelFolder('llama'), folder, { recursive: true })
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) cpSync(join(model, name), join(folder, name))
  const { stdout, stderr, status } = await command(['eval', '--model', folder, '--val_dataset', file, '--metric', 'loss', '--json', '--max_batch_size', '1'])
  t.is(status, 0, stderr)
  t.true(Math.abs((JSON.parse(stdout) as { base: { loss: number } }).base.loss - out.loss!.item()) < 1e-6)
  t.true(existsSync(file) && readJson(join(folder, 'config.json')).vocab_size > 0)
})
