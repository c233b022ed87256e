import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AutoModel } from '../index.js'
import { command, model } from './command.js'
import { modelFolder, temp } from './support.js'

/** A model of random weights with the demo's tokenizer, and rows of so many tokens each. */
async function made(tokens: number): Promise<{ folder: string; rows: string }> {
  const folder = temp()
  const random = await AutoModel.fromConfig({
    architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_size: 320, intermediate_size: 832, num_hidden_layers: 6, num_attention_heads: 5, num_key_value_heads: 1, vocab_size: 4096,
    max_position_embeddings: 1024, rms_norm_eps: 1e-5, hidden_act: 'silu', tie_word_embeddings: true, rope_theta: 10000,
  })
  await random.savePretrained(folder)
  random.dispose()
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) cpSync(join(model, name), join(folder, name))
  const rows = join(folder, 'rows.jsonl')
  writeFileSync(rows, Array.from({ length: 16 }, (_, r) => JSON.stringify({ input_ids: Array.from({ length: tokens }, (_, i) => (r * 31 + i * 7) % 4000 + 2) })).join('\n'))
  return { folder, rows }
}

// What the process holds at least is Linux's; other systems count pages that are shared differently.
const linux = process.platform === 'linux' ? test : test.skip
linux('plan foretells the memory that a run then takes, within 15 %', async t => {
  const { folder, rows } = await made(256)
  for (const given of [['--lora_dropout', '0'], ['--lora_rank', '16'], ['--gradient_checkpointing'], ['--tuner_type', 'full']]) {
    const common = ['--model', folder, '--max_length', '256', '--per_device_train_batch_size', '4', '--json', ...given]
    const planned = await command(['plan', ...common])
    const run = await command(['sft', ...common, '--dataset', rows, '--max_steps', '3', '--gradient_accumulation_steps', '1', '--save_strategy', 'no', '--output_dir', temp()])
    t.is(run.status, 0, run.stderr)
    const { output_dir: root } = JSON.parse(run.stdout) as { output_dir: string }
    const log = readFileSync(join(root, 'logging.jsonl'), 'utf8').trim().split('\n').map(line => JSON.parse(line) as Record<string, number>)
    const measured = Math.max(...log.map(line => line['memory(GiB)'])) * 2 ** 30
    const { total } = JSON.parse(planned.stdout) as { total: number }
    t.log(`${given.join(' ')}: planned ${(total / 2 ** 20).toFixed(0)} MiB, measured ${(measured / 2 ** 20).toFixed(0)} MiB`)
    t.true(total / measured > 0.85 && total / measured < 1.15, `${given.join(' ')}: ${total / measured}`)
  }
})

test('plan says what would have room, and refuses what it does not know', async t => {
  const { folder } = await made(8)
  const tight = await command(['plan', '--model', folder, '--max_length', '1024', '--per_device_train_batch_size', '4', '--memory', '0.6'])
  t.is(tight.status, 1)
  t.regex(tight.stdout, /has no room in 614\.4 MiB/)
  t.regex(tight.stdout, /--gradient_checkpointing +\d+\.\d MiB +has room/)
  t.true(tight.stdout.split('\n').every(line => line.length <= 80))
  const wide = await command(['plan', '--model', folder, '--memory', '64', '--json'])
  t.is(wide.status, 0)
  t.like(JSON.parse(wide.stdout), { fits: true, memory: 64 * 2 ** 30 })
  for (const [args, told] of [[['--tuner_type', 'reft'], /plan knows lora and full/], [['--optim', 'galore_adamw'], /does not know how much galore_adamw keeps/], [['--target_modules', 'qproj'], /not qproj/]] as const) {
    const odd = await command(['plan', '--model', folder, ...args])
    t.is(odd.status, 2, odd.stdout)
    t.regex(odd.stderr, told)
  }
  const other = await command(['plan', '--model', modelFolder('bert')])
  t.is(other.status, 2)
  t.regex(other.stderr, /plan knows llama, mistral, qwen2, qwen3, and this is bert/)
})
