import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { COMMANDS } from '../src/command/commands.js'
import { PEFT_TUNERS, SWIFT_TUNERS } from '../src/command/tuner-types.js'
import * as library from '../index.js'
import { bin, command, model, rows, short } from './command.js'
import { demo, fixtures, readJson, root, temp } from './support.js'

test('--help, --version and what is wrong are told without the native half', t => {
  const script = `const { main } = require(${JSON.stringify(join(root, 'dist/src/command/main.js'))});
    process.stdout.write = () => true;
    Promise.all([['--help'], ['sft', '--help'], ['--version'], ['sft', '--modle', 'x']].map(main)).then(all => {
      const native = Object.keys(require.cache).filter(file => /\\.node$|binding\\.js$|dist\\/index\\.js$/.test(file))
      console.error(JSON.stringify([all, native]))
    })`
  const { stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' })
  const [statuses, native] = JSON.parse(stderr.trim().split('\n').at(-1)!) as [number[], string[]]
  t.deepEqual(statuses, [0, 0, 0, 2])
  t.deepEqual(native, [])
})

test('help tells every command and every option', async t => {
  const all = await command(['--help'])
  t.is(all.status, 0)
  for (const [name, { options }] of Object.entries(COMMANDS)) {
    t.true(all.stdout.includes(`  ${name} `), name)
    const own = await command([name, '--help'])
    t.is(own.status, 0, name)
    for (const option of Object.keys(options)) t.regex(own.stdout, new RegExp(`--${option}\\b`), `${name} --${option}`)
    t.true(own.stdout.split('\n').every(line => line.length <= 100), name)
  }
})

const wrong: [why: string, args: string[], told: RegExp][] = [
  ['an unknown command', ['stf'], /^swift-tuners: stf: there is no such command; did you mean sft\?$/],
  ['an unknown option', ['sft', '--modle', model], /--modle: there is no such option; did you mean --model\?/],
  ['a value out of range', ['sft', '--lora_rank', '0'], /--lora_rank: expected an integer from 1 on, found 0/],
  ['a value that is no number', ['sft', '--learning-rate', 'fast'], /--learning_rate: expected a number above 0, found "fast"/],
  ['a word that there is not', ['sft', '--lr_scheduler_type', 'cosin'], /found "cosin"; did you mean cosine\?/],
  ['a tuner that there is not', ['sft', '--tuner_type', 'lorra'], /--tuner_type: expected one of \d+ names.*did you mean lora\?/],
  ['a device that there is not', ['sft', '--device', 'gpu'], /--device: expected cpu, cuda or cuda:N, found "gpu"; it is called cuda here/],
  ['a value that is missing', ['sft', '--model', '--dataset', 'x'], /--model: its value is missing; --dataset is an option/],
  ['an argument without an option', ['sft', '--seed', '1', 'more'], /"more": no option takes it/],
  ['a model that is not there', ['sft', '--model', join(demo, 'bas-model')], /no such file or folder; did you mean .*base-model\?/],
  ['a dataset that is not there', ['sft', '--model', model, '--dataset', rows('trian')], /--dataset: .*trian.jsonl: no such file or folder; did you mean .*train.jsonl\?/],
  ['a missing model', ['sft', '--dataset', rows('train')], /--model: missing/],
  ['a missing dataset', ['sft', '--model', model], /--dataset: missing/],
  ['an adapter as a model', ['sft', '--model', join(demo, 'yardstick/lora-r8-all-linear/initial'), '--dataset', rows('train')], /this is an adapter and no model; give it as --adapters/],
  ['an option of another tuner', ['sft', '--model', model, '--dataset', rows('train'), '--lisa_activated_layers', '1'], /needs --tuner_type full/],
  ['an option of another method', ['rlhf', '--rlhf_type', 'dpo', '--model', model, '--dataset', rows('train'), '--simpo_gamma', '1'], /--simpo_gamma: --rlhf_type dpo has it not/],
  ['a folder below a file', ['sft', '--model', model, '--dataset', rows('train'), '--output_dir', join(model, 'config.json', 'x')], /--output_dir: .*config.json: not a folder/],
]
for (const [why, args, told] of wrong) {
  test(`${why} is one line on standard error, status 2, and writes nothing`, async t => {
    const cwd = temp()
    const { status, stdout, stderr } = await command(args, { cwd })
    t.regex(stderr.trim(), told)
    t.is(stderr.trim().split('\n').length, 1, stderr)
    t.is(status, 2)
    t.is(stdout, '')
    t.deepEqual(readdirSync(cwd), [])
  })
}

test('a folder that cannot be written is refused before anything runs', async t => {
  const parent = temp()
  chmodSync(parent, 0o555)
  // root writes everywhere, and others cannot read what root has in a private folder.
  const uid = process.getuid?.() === 0 ? 65534 : undefined
  const { status, stderr } = await command(short(join(parent, 'out'), 1), { cwd: '/', ...(uid === undefined ? {} : { uid }) })
  chmodSync(parent, 0o755)
  if (/EACCES|MODULE_NOT_FOUND/.test(stderr)) return t.pass('the checkout itself is private')
  t.is(status, 2, stderr)
  t.regex(stderr, /--output_dir: .*: cannot be written/)
})

test('YAML and JSON files give options, the command line comes before them, and args.json keeps what ran', async t => {
  const cwd = temp()
  writeFileSync(join(cwd, 'run.yaml'), `model: ${model}\ndataset: ${rows('train')}#8\nlora-rank: 2\nmax_steps: 1\ntarget_modules: [q_proj, v_proj]\nlearning_rate: 1e-3\n`)
  const run = await command(['sft', '--config', 'run.yaml', '--lora_rank', '4', '--output-dir', 'out', '--json'], { cwd })
  t.is(run.status, 0, run.stderr)
  const { output_dir: folder } = JSON.parse(run.stdout) as { output_dir: string }
  const args = readJson(join(folder, 'args.json'))
  t.like(args, { lora_rank: 4, max_steps: 1, target_modules: ['q_proj', 'v_proj'], learning_rate: 1e-3, dataset: [`${rows('train')}#8`] })
  t.like(readJson(join(folder, 'checkpoint-1/adapter_config.json')), { r: 4, base_model_name_or_path: model })

  writeFileSync(join(cwd, 'run.json'), JSON.stringify({ model, lora_rnk: 2 }))
  const odd = await command(['sft', '--config', 'run.json'], { cwd })
  t.is(odd.status, 2)
  t.regex(odd.stderr, /run.json: lora_rnk: there is no such option; did you mean --lora_rank\?/)
  const none = await command(['sft', '--config', 'nix.json'], { cwd })
  t.is(none.status, 2)
  t.regex(none.stderr, /nix.json/)
})

test('a broken row is dropped with a warning that names it, and is an error with --strict', async t => {
  const cwd = temp()
  writeFileSync(join(cwd, 'rows.jsonl'), ['{"prompt": "a b c", "completion": "d"}', '{"prompt": ', '{"prompt": "e f", "completion": "g"}'].join('\n'))
  const args = ['sft', '--model', model, '--dataset', 'rows.jsonl', '--max_steps', '1', '--output_dir', 'out']
  const run = await command(args, { cwd })
  t.is(run.status, 0, run.stderr)
  t.regex(run.stderr, /warning: 1 row.*rows.jsonl.*2/)
  const strict = await command([...args, '--strict', '--output_dir', 'strict'], { cwd })
  t.is(strict.status, 1)
  t.regex(strict.stderr, /rows.jsonl.*2/)
  t.false(existsSync(join(cwd, 'strict')))
})

test('rows of another kind are refused before a folder is made', async t => {
  const cwd = temp()
  cpSync(join(fixtures, 'datasets/preference-trl-explicit-text/data.jsonl'), join(cwd, 'pairs.jsonl'))
  const { status, stderr } = await command(['sft', '--model', model, '--dataset', 'pairs.jsonl', '--output_dir', 'out'], { cwd })
  t.is(status, 2, stderr)
  t.regex(stderr, /rows of preferences/)
  t.false(existsSync(join(cwd, 'out')))
})

test('every configuration class of the package has a name on the command line', t => {
  const named = new Set<string>([...Object.values(PEFT_TUNERS), ...Object.values(SWIFT_TUNERS), 'LoRAConfig'])
  const classes = Object.entries(library).filter(([, of]) => typeof of === 'function' && (of.prototype instanceof library.PeftConfig || of.prototype instanceof library.SwiftConfig)).map(([name]) => name)
  t.true(classes.length > 50)
  t.deepEqual(classes.filter(name => !named.has(name)), [])
})

test('the bin of package.json is there and can be run', async t => {
  const { bin: bins } = readJson(join(root, 'package.json'))
  t.is(join(root, bins['swift-tuners']), bin)
  const { stdout } = await command(['--version'])
  t.is(stdout.trim(), readJson(join(root, 'package.json')).version)
})
