/** `export`. */
import { existsSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { type DType, Swift } from '../../index.js'
import { invalid } from '../options.js'
import type { ValuesOf } from './argument.js'
import type { ExitStatus } from './commands.js'
import { hubOptions, modelName, named } from './load.js'
import type { EXPORT } from './options/commands.js'
import { print } from './print.js'

type Args = ValuesOf<typeof EXPORT>

const DTYPES: Record<string, DType | undefined> = { float32: 'f32', bfloat16: 'bf16', float16: 'f16' }

/** Merges, or converts. */
export async function exported(args: Args): Promise<ExitStatus> {
  if (args.merge_lora === args.to_peft_format) throw invalid('merge_lora', args.merge_lora ? '--merge_lora and --to_peft_format: give one of them' : '--merge_lora or --to_peft_format: which?')
  if (args.adapters.length !== 1) throw invalid('adapters', `--adapters: expected one folder, found ${args.adapters.length}`)
  const [{ folder }] = named(args.adapters)
  const output = resolve(args.output_dir ?? `${resolve(folder)}-${args.merge_lora ? 'merged' : 'peft'}`)
  if (existsSync(output) && !args.exist_ok) throw invalid('output_dir', `--output_dir: ${relative(process.cwd(), output)}: is there already; --exist_ok replaces it`)
  if (args.merge_lora) {
    const dtype = args.torch_dtype === undefined ? undefined : DTYPES[args.torch_dtype]
    await Swift.mergeFiles(await modelName(args), folder, output, { ...hubOptions(args), maxShardSize: args.max_shard_size as `${number}GB`, ...(dtype ? { dtype } : {}) })
  } else await Swift.saveToPeftFormat(folder, output)
  print(args.json, { output_dir: output }, told => `written: ${relative(process.cwd(), told.output_dir)}`)
  return 0
}
