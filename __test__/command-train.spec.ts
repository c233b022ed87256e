import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AutoModel, SwiftModel, Swift, Trainer } from '../index.js'
import { OPTIMIZER_NAMES } from '../src/command/optimizer-names.js'
import { optimizerOf } from '../src/command/optimizer.js'
import { SFT } from '../src/command/options/commands.js'
import { complete } from '../src/command/parse.js'
import { TUNER_TYPES } from '../src/command/tuner-types.js'
import { tunerConfig } from '../src/command/tuner.js'
import type { ValuesOf } from '../src/command/argument.js'
import { adapter, bin, command, model, rows, short } from './command.js'
import { base, IDS, temp } from './support.js'

/** What a command that trains prints. */
interface Told {
  output_dir: string
  steps: number
  reason: string
  loss: number
  last_model_checkpoint: string
  best_model_checkpoint?: string
}
const lines = (file: string) => readFileSync(file, 'utf8').trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)
const checkpoints = (folder: string) => readdirSync(folder).filter(name => name.startsWith('checkpoint-')).sort()

test('sft learns, and writes the files that ms-swift writes', async t => {
  const out = temp()
  const run = await command(short(out, 12, '--val_dataset', `${rows('validation')}#8`, '--save_steps', '4', '--save_total_limit', '2', '--per_device_eval_batch_size', '8'))
  t.is(run.status, 0, run.stderr)
  const told = JSON.parse(run.stdout) as Told
  t.like(told, { steps: 12, reason: 'maxSteps' })
  t.regex(told.output_dir, /\/v0-\d{8}-\d{6}$/)
  t.deepEqual(checkpoints(told.output_dir), ['checkpoint-12', 'checkpoint-8'])
  for (const name of ['adapter_model.safetensors', 'adapter_config.json', 'args.json', 'trainer.json', 'optimizer.safetensors']) t.true(existsSync(join(told.last_model_checkpoint, name)), name)
  t.is(readlinkSync(join(told.output_dir, 'last')), 'checkpoint-12')
  t.is(readlinkSync(join(told.output_dir, 'best')), told.best_model_checkpoint!.split('/').at(-1)!)

  const log = lines(join(told.output_dir, 'logging.jsonl'))
  const steps = log.filter(line => 'loss' in line)
  t.deepEqual(steps.map(line => line['global_step/max_steps']), ['1/12', '5/12', '10/12', '12/12'])
  for (const key of ['loss', 'grad_norm', 'learning_rate', 'epoch', 'percentage', 'elapsed_time', 'remaining_time', 'memory(GiB)', 'train_speed(s/it)']) t.true(key in steps[1], key)
  t.true(Number(steps[0].loss) > 2 && Number(steps.at(-1)!.loss) < 0.6 * Number(steps[0].loss))
  const evaluations = log.filter(line => 'eval_loss' in line)
  t.deepEqual(evaluations.map(line => line['global_step/max_steps']), ['4/12', '8/12', '12/12'])
  t.true(Number(evaluations.at(-1)!.eval_token_acc) > Number(evaluations[0].eval_token_acc))
  t.is(log.at(-1)!.last_model_checkpoint, told.last_model_checkpoint)

  t.deepEqual(readdirSync(join(told.output_dir, 'images')).sort(), ['eval_loss.svg', 'eval_token_acc.svg', 'train_grad_norm.svg', 'train_learning_rate.svg', 'train_loss.svg'])
  const picture = readFileSync(join(told.output_dir, 'images/train_loss.svg'), 'utf8')
  t.regex(picture, /prefers-color-scheme:dark/)
  t.is(picture.match(/<polyline /g)!.length, 2)
  t.regex(picture, />eval_loss</)
  t.regex(run.stderr, /12\/12 {2}loss/)

  const second = await command(short(out, 1))
  t.regex((JSON.parse(second.stdout) as Told).output_dir, /\/v1-/)
})

test('Ctrl-C finishes the step and writes a checkpoint, and the run that goes on ends with the same bytes', async t => {
  const [whole, cut] = [temp(), temp()]
  const steps = 20
  const through = JSON.parse((await command(short(whole, steps, '--split_dataset_ratio', '0.1', '--eval_strategy', 'no'))).stdout) as Told
  let sent = false
  const stopped = await command(short(cut, steps, '--split_dataset_ratio', '0.1', '--eval_strategy', 'no'), {
    watch: (child, stderr) => {
      if (sent || !/^1\/20 /m.test(stderr)) return
      sent = true
      child.kill('SIGINT')
    },
  })
  t.is(stopped.status, 130, stopped.stderr)
  const before = JSON.parse(stopped.stdout) as Told
  t.is(before.reason, 'interrupted')
  t.true(before.steps >= 1 && before.steps < steps, String(before.steps))
  t.deepEqual(checkpoints(before.output_dir), [`checkpoint-${before.steps}`])
  const goes = await command(['sft', '--resume_from_checkpoint', before.last_model_checkpoint, '--json'])
  t.is(goes.status, 0, goes.stderr)
  const after = JSON.parse(goes.stdout) as Told
  t.like(after, { output_dir: before.output_dir, steps, loss: through.loss })
  t.is(adapter(after.last_model_checkpoint), adapter(through.last_model_checkpoint))
  t.not(adapter(after.last_model_checkpoint), adapter(before.last_model_checkpoint))
  const logged = lines(join(after.output_dir, 'logging.jsonl')).filter(line => 'loss' in line).map(line => line['global_step/max_steps'])
  t.is(logged.at(-1), '20/20')
  t.is(new Set(logged).size, logged.length)

  const older = await command(['sft', '--resume_from_checkpoint', before.last_model_checkpoint])
  t.is(older.status, 2)
  t.regex(older.stderr, /newest checkpoint is checkpoint-20/)
})

test('Ctrl-C twice ends at once', async t => {
  let sent = 0
  const { status, stdout } = await command(short(temp(), 200, '--per_device_train_batch_size', '64'), {
    watch: (child, stderr) => {
      if (sent === 0 && /^1\/200 /m.test(stderr)) sent = Number(child.kill('SIGINT'))
      else if (sent === 1 && stderr.includes('stopping after this step')) sent += Number(child.kill('SIGINT'))
    },
  })
  t.is(sent, 2)
  t.is(status, 130)
  t.is(stdout, '')
})

test('epochs, a split for evaluations, checkpoints of each epoch and early stopping', async t => {
  const run = await command(short(temp(), -1, '--dataset', `${rows('train')}#24`, '--num_train_epochs', '2', '--split_dataset_ratio', '0.25', '--save_strategy', 'epoch', '--metric_for_best_model', 'token_acc'))
  t.is(run.status, 0, run.stderr)
  const told = JSON.parse(run.stdout) as Told & { best_metric: { metric: string; value: number } }
  t.is(told.reason, 'epochs')
  t.is(checkpoints(told.output_dir).length, 2)
  t.true(told.best_metric.metric === 'token_acc' && told.best_metric.value > 0)
  const evaluations = lines(join(told.output_dir, 'logging.jsonl')).filter(line => 'eval_loss' in line)
  t.deepEqual(evaluations.map(line => line.epoch), [1, 2])
})

test('--tuner_type full writes whole models, and LISA, GaLore and packing run', async t => {
  const run = await command(short(temp(), 2, '--tuner_type', 'full', '--lisa_activated_layers', '1', '--lisa_step_interval', '1', '--learning_rate', '1e-4', '--packing', '--packing_length', '96'))
  t.is(run.status, 0, run.stderr)
  const { last_model_checkpoint: last } = JSON.parse(run.stdout) as Told
  const trained = await AutoModel.fromPretrained(last)
  t.is(trained.config.model_type, 'llama')
  t.true(existsSync(join(last, 'tokenizer.json')))
  t.false(existsSync(`${last}.model`))
  const answers = await command(['infer', '--model', last, '--val_dataset', `${rows('test')}#1`, '--max_new_tokens', '3', '--result_path', join(temp(), 'r.jsonl')])
  t.is(answers.status, 0, answers.stderr)
  const galore = await command(short(temp(), 2, '--tuner_type', 'full', '--optim', 'galore_adamw', '--galore_rank', '4', '--learning_rate', '1e-4', '--save_strategy', 'no'))
  t.is(galore.status, 0, galore.stderr)
})

test('an adapter over a packed base trains, and is merged into the base as it is stored', async t => {
  const out = temp()
  const run = await command(short(out, 2, '--quant_method', 'bnb', '--quant_bits', '4', '--optim', 'adamw_8bit'))
  t.is(run.status, 0, run.stderr)
  const { last_model_checkpoint: last } = JSON.parse(run.stdout) as Told
  const merged = await command(['export', '--adapters', last, '--merge_lora', '--json'])
  t.is(merged.status, 0, merged.stderr)
  t.deepEqual(JSON.parse(merged.stdout), { output_dir: `${last}-merged` })
  t.is((await AutoModel.fromPretrained(`${last}-merged`, { dtype: 'auto' })).namedParameters()[0].dtype, 'bf16')
})

test('a disk that is full ends a run with one line, and leaves no half checkpoint', async t => {
  const out = temp()
  const script = 'ulimit -f 300; exec "$@"'
  const { status, stderr } = spawnSync('bash', ['-c', script, 'bash', process.execPath, bin, ...short(out, 1)], { encoding: 'utf8' })
  t.is(status, 1, stderr)
  t.regex(stderr.trim().split('\n').at(-1)!, /^swift-tuners sft: .*(File too large|too large)/)
  const [folder] = readdirSync(out)
  t.false(existsSync(join(out, folder, 'checkpoint-1/trainer.json')))
})

test('pt trains all of a text', async t => {
  const cwd = temp()
  writeFileSync(join(cwd, 'texts.txt'), Array.from({ length: 8 }, (_, i) => `The light in room ${i} is on.`).join('\n'))
  const run = await command(['pt', '--model', model, '--dataset', 'texts.txt', '--max_steps', '2', '--output_dir', 'out', '--json', '--tuner_backend', 'swift'], { cwd })
  t.is(run.status, 0, run.stderr)
  const { last_model_checkpoint: last } = JSON.parse(run.stdout) as Told
  t.true(existsSync(join(last, 'default/adapter_model.safetensors')))
  const loaded = await Swift.fromPretrained(await AutoModel.fromPretrained(model), last)
  t.true(loaded instanceof SwiftModel)
})

test('rlhf trains on preferences of each kind, and on rewards', async t => {
  const folder = temp()
  writeFileSync(join(folder, 'reward.mjs'), 'export default function length({ completion }) { return -Math.abs(completion.length - 20) }\n')
  const pairs = join(folder, 'pairs.jsonl')
  writeFileSync(pairs, Array.from({ length: 8 }, (_, i) => JSON.stringify({ prompt: `Turn on light ${i}.`, chosen: ` {"tool": "light", "n": ${i}}`, rejected: ' No.' })).join('\n'))
  const labelled = join(folder, 'labelled.jsonl')
  writeFileSync(labelled, Array.from({ length: 8 }, (_, i) => JSON.stringify({ messages: [{ role: 'user', content: `Light ${i}` }, { role: 'assistant', content: i % 2 ? 'yes' : 'no' }], label: i % 2 })).join('\n'))
  const common = ['--model', model, '--max_steps', '2', '--per_device_train_batch_size', '4', '--gradient_accumulation_steps', '1', '--logging_steps', '1', '--json', '--learning_rate', '1e-3']
  const run = async (type: string, dataset: string, ...more: string[]) => {
    const ended = await command(['rlhf', '--rlhf_type', type, '--dataset', dataset, '--output_dir', join(folder, type), ...common, ...more])
    t.is(ended.status, 0, `${type}: ${ended.stderr}`)
    return lines(join((JSON.parse(ended.stdout) as Told).output_dir, 'logging.jsonl'))
  }
  const dpo = await run('dpo', pairs)
  t.true(Math.abs(Number(dpo[0].loss) - Math.LN2) < 1e-6, 'against itself, the first loss of DPO is log 2')
  t.true('rewards/margins' in dpo[0])
  for (const type of ['orpo', 'simpo', 'cpo']) t.true(Number.isFinite((await run(type, pairs))[0].loss), type)
  t.true(Number.isFinite((await run('kto', labelled))[0].loss))
  const grpo = await run('grpo', rows('train'), '--reward_funcs', join(folder, 'reward.mjs'), '--num_generations', '4', '--max_completion_length', '8')
  t.true(grpo.some(line => 'rewards/length' in line), Object.keys(grpo[0]).join())

  const odd = await command(['rlhf', '--rlhf_type', 'kto', '--dataset', pairs, '--output_dir', join(folder, 'odd'), ...common])
  t.is(odd.status, 1, odd.stderr)
  t.regex(odd.stderr, /rows are not of format kto/)
  t.false(existsSync(join(folder, 'odd')))
})

/** What tuners want to be told of the small model of the fixtures. */
const ARGS: Record<string, object> = {
  c3a: { block_size: 16 }, road: { group_size: 16 }, shira: { r: 2 }, vblora: { vector_length: 16, num_vectors: 8 }, waveft: { n_frequency: 16 },
  side: { dim: 64, target_modules: '.*mlp', side_module_name: 'mlp' }, part: { target_modules: '.*q_proj' },
  trainable_tokens: { token_indices: IDS[0] },
}
/** Those that need more than a batch of tokens (tasks, other adapters, images), or train nothing: their configurations are made. */
const MORE: Record<string, object> = {
  multitask_prompt_tuning: {}, poly: {}, xlora: { adapters: { a: 'folder' } }, cpt: { cpt_token_ids: [1, 2, 3], cpt_mask: [1, 1, 1], cpt_tokens_type_mask: [1, 2, 3] },
  prompt: { dim: 64, target_modules: 'model.layers.1', embedding_pos: 0 }, neftune: {}, scetuning: { dims: 64, target_modules: ['up_blocks'] },
  restuning: { dims: 64, stem_modules: ['model.layers.0'], target_modules: 'model.norm' },
}

const args = (given: object) => complete(given as Record<string, unknown>, SFT) as unknown as ValuesOf<typeof SFT>
async function step(given: object): Promise<number> {
  const of = args(given)
  const plain = await base()
  const config = tunerConfig(of, plain.config, 10)
  const tuned = config === undefined ? plain : await Swift.prepareModel(plain, config as never, { seed: 1 })
  const run = await new Trainer({ model: tuned, train: [{ inputIds: IDS, labels: IDS }], optimizer: optimizerOf(tuned, of, of.tuner_type === 'full') }).run()
  return run.loss!
}

for (const tuner_type of TUNER_TYPES.filter(type => !Object.hasOwn(MORE, type))) {
  test(`--tuner_type ${tuner_type} trains a step`, async t => {
    t.true(await step({ tuner_type, ...(ARGS[tuner_type] ? { tuner_args: ARGS[tuner_type] } : {}) }) > 1)
  })
}

test('tuners that need more than tokens get their configurations', t => {
  for (const [tuner_type, tuner_args] of Object.entries(MORE)) {
    const config = tunerConfig(args({ tuner_type, tuner_args }), {}, 10) as { toJSON?: unknown; default?: unknown }
    t.truthy(config.toJSON ?? config.default, tuner_type)
  }
})

test('every --optim trains a step, over adapters and over all weights', async t => {
  for (const optim of OPTIMIZER_NAMES) {
    t.true(await step({ optim }) > 1, optim)
    if (optim !== 'muon' && optim !== 'lorafa') t.true(await step({ optim, tuner_type: 'full' }) > 1, optim)
  }
  const error = await t.throwsAsync(step({ optim: 'muon', tuner_type: 'full' }))
  t.regex(error!.message, /--optim muon: it takes matrices only/)
})

test('LoRA\'s flags are its fields', async t => {
  const fields = (given: object) => {
    const config = tunerConfig(args(given), {}, 10) as unknown as { toJSON?(): Record<string, unknown>; default?: { toJSON(): Record<string, unknown> } }
    return (config.toJSON ? config.toJSON() : config.default!.toJSON())
  }
  t.like(fields({}), { peft_type: 'LORA', r: 8, lora_alpha: 32, lora_dropout: 0.05, target_modules: 'all-linear', use_dora: false })
  t.like(fields({ tuner_type: 'dora', lora_rank: 4, use_rslora: true }), { use_dora: true, use_rslora: true, r: 4 })
  t.like(fields({ init_weights: 'pissa', target_regex: '.*q_proj', modules_to_save: ['lm_head'] }), { init_lora_weights: 'pissa', target_modules: '.*q_proj', modules_to_save: ['lm_head'] })
  t.like(fields({ lorap_lr_ratio: 16 }), { swift_type: 'LORA', lorap_lr_ratio: 16 })
  t.like(fields({ tuner_args: { lora_alpha: 7, rank_pattern: { q_proj: 2 } } }), { lora_alpha: 7, rank_pattern: { q_proj: 2 } })
  t.like(fields({ tuner_type: 'adalora', lora_rank: 4 }), { peft_type: 'ADALORA', target_r: 4, init_r: 6, total_step: 10 })
  t.true(await step({ neftune_noise_alpha: 5 }) > 1)
  t.throws(() => fields({ tuner_type: 'vera', neftune_noise_alpha: 5 }), { message: /needs one of SWIFT's tuners/ })
  t.throws(() => fields({ tuner_args: { lora_alfa: 7 } }), { message: /--tuner_type lora: .*loraAlfa/ })
})
