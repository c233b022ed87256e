/** `plan`: whether a run has room, before it starts. */
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { invalid } from '../options.js'
import type { ExitStatus } from './commands.js'
import { readConfig } from './config-file.js'
import { memoryPlan, type PlanArgs } from './memory-plan.js'
import { print, table } from './print.js'
import { bytes } from './sizes.js'

/** What may be changed so that a run takes less, and how. */
function changes(args: PlanArgs, context: number): [what: string, args: PlanArgs][] {
  const length = args.max_length ?? context
  const lora = args.tuner_type !== 'full'
  return [
    ...(lora ? [] : [['--tuner_type lora', { ...args, tuner_type: 'lora' }] as [string, PlanArgs]]),
    ...(lora && args.lora_dropout > 0 ? [['--lora_dropout 0', { ...args, lora_dropout: 0 }] as [string, PlanArgs]] : []),
    ...(args.gradient_checkpointing ? [] : [['--gradient_checkpointing', { ...args, gradient_checkpointing: true }] as [string, PlanArgs]]),
    ...(args.per_device_train_batch_size > 1 ? [[`--per_device_train_batch_size ${Math.floor(args.per_device_train_batch_size / 2)}`, { ...args, per_device_train_batch_size: Math.floor(args.per_device_train_batch_size / 2) }] as [string, PlanArgs]] : []),
    ...(length > 256 ? [[`--max_length ${Math.floor(length / 2)}`, { ...args, max_length: Math.floor(length / 2) }] as [string, PlanArgs]] : []),
    ...(lora && args.quant_bits === undefined && args.quant_method === undefined ? [['--quant_method bnb --quant_bits 4', { ...args, quant_method: 'bnb', quant_bits: 4 }] as [string, PlanArgs]] : []),
    ...(lora && args.lora_rank > 1 ? [[`--lora_rank ${Math.floor(args.lora_rank / 2)}`, { ...args, lora_rank: Math.floor(args.lora_rank / 2) }] as [string, PlanArgs]] : []),
  ]
}

/** Predicts, and tells what would take less; 1 where the run has no room. */
export async function plan(args: PlanArgs): Promise<ExitStatus> {
  if (args.model === undefined) throw invalid('model', '--model: missing')
  const config = await readConfig(join(args.model, 'config.json'))
  const found = memoryPlan(config, args)
  const room = (args.memory ?? totalmem() / 2 ** 30) * 2 ** 30
  const others = changes(args, Number(config.max_position_embeddings ?? 2048)).map(([what, changed]) => ({ change: what, total: memoryPlan(config, changed).total })).sort((a, b) => a.total - b.total)
  print(args.json, { ...found, memory: room, fits: found.total <= room, changes: others }, told => [
    table([['', 'memory'], ...(['weights', 'trained', 'activations', 'process', 'total'] as const).map(name => [name, bytes(Math.round(told[name]))])]), '',
    told.fits ? `has room in ${bytes(room)}` : `has no room in ${bytes(room)}`, '',
    table([['with', 'total', ''], ...told.changes.map(({ change, total }) => [change, bytes(Math.round(total)), told.fits || total > room ? '' : 'has room'])]),
  ].join('\n'))
  return found.total <= room ? 0 : 1
}
