/** Tuners by the options of the command line. */
import * as library from '../../index.js'
import { invalid } from '../options.js'
import type { ValuesOf } from './argument.js'
import type { TUNER } from './options/training.js'
import { PEFT_TUNERS, SWIFT_TUNERS, type TunerType } from './tuner-types.js'

type Args = ValuesOf<typeof TUNER>
type Fields = Record<string, unknown>
type Config = library.PeftConfig | library.SwiftConfig
type ConfigClass = new (fields: Fields) => Config

/** Of which flags a configuration's fields are made, beside `--tuner_args`. */
const LORA_LIKE: TunerType[] = ['lora', 'dora', 'longlora', 'adalora']

/** Fields that a class has none of without being told; ms-swift's values where it has the tuner. */
const FIRST: Partial<Record<TunerType, (config: Fields) => Fields>> = {
  adapter: ({ hidden_size: dim }) => ({ dim, targetModules: ['mlp'] }),
  llamapro: ({ model_type: modelType, num_hidden_layers: layers }) => ({ modelType, numNewBlocks: Math.min(4, Number(layers ?? 4)) }),
  reft: ({ model_type: modelType }) => ({ modelType, r: 4 }),
  adaption_prompt: ({ num_hidden_layers: layers }) => ({ adapterLen: 10, adapterLayers: Math.max(1, Number(layers ?? 2) - 1) }),
  prompt_tuning: () => ({ numVirtualTokens: 20 }), p_tuning: () => ({ numVirtualTokens: 20 }), prefix_tuning: () => ({ numVirtualTokens: 20 }),
  multitask_prompt_tuning: () => ({ numVirtualTokens: 20 }), cartridge: () => ({ numVirtualTokens: 20 }),
}

/** Tuners whose modules are named by what they are for, and not by `--target_modules`. */
const ELSEWHERE: TunerType[] = [
  'adapter', 'prompt', 'side', 'restuning', 'scetuning', 'neftune', 'llamapro', 'part', 'reft', 'adaption_prompt', 'prompt_tuning', 'p_tuning', 'prefix_tuning', 'multitask_prompt_tuning', 'cpt',
  'cartridge', 'trainable_tokens', 'xlora', 'ln_tuning', 'ia3', 'shadow', 'beft',
]

/** What is prepared: one configuration of PEFT's, or named ones of SWIFT's; nothing where all weights train. */
export function tunerConfig(args: Args, model: Fields, totalSteps: number | undefined): library.PeftConfig | Record<string, library.SwiftConfig> | undefined {
  const { tuner_type: type, neftune_noise_alpha: noise } = args
  if (type === 'full') {
    for (const name of ['neftune_noise_alpha', 'lorap_lr_ratio'] as const) if (args[name] !== undefined) throw invalid(name, `--${name}: --tuner_type full has no adapters`)
    return undefined
  }
  const lora = type === 'lora' || type === 'dora'
  const needsSwift = noise !== undefined || args.lorap_lr_ratio !== undefined
  if (needsSwift && (args.tuner_backend === 'peft' || (!lora && Object.hasOwn(PEFT_TUNERS, type)))) throw invalid('tuner_type', `--tuner_type ${type}: --${noise !== undefined ? 'neftune_noise_alpha' : 'lorap_lr_ratio'} needs one of SWIFT's tuners, or lora with --tuner_backend swift`)
  if (args.tuner_backend === 'swift' && !lora && Object.hasOwn(PEFT_TUNERS, type)) throw invalid('tuner_backend', `--tuner_backend: SWIFT has no ${type} of its own`)
  const swift = Object.hasOwn(SWIFT_TUNERS, type) || needsSwift || args.tuner_backend === 'swift'
  const name = lora && swift ? 'LoRAConfig' : { ...PEFT_TUNERS, ...SWIFT_TUNERS }[type]
  const config = configOf(name, type, { ...flags(args, swift), ...FIRST[type]?.(model), ...(type === 'adalora' ? { totalStep: totalSteps ?? 1000 } : {}), ...camelFields(args.tuner_args) })
  if (!swift) return config as library.PeftConfig
  return { default: config as library.SwiftConfig, ...(noise === undefined ? {} : { neftune: new library.NEFTuneConfig({ noiseAlpha: noise }) }) }
}

function configOf(name: string, type: TunerType, fields: Fields): Config {
  const Class = (library as unknown as Record<string, ConfigClass>)[name]
  try {
    return new Class(fields)
  } catch (error) {
    if (!(error instanceof library.SwiftTunersError)) throw error
    throw invalid('tuner_args', `--tuner_type ${type}: ${error.message} (--tuner_args gives fields: '{"…": …}')`)
  }
}

function flags(args: Args, swift: boolean): Fields {
  const { tuner_type: type } = args
  const targets = args.target_regex ?? (args.target_modules.length === 1 && args.target_modules[0] === 'all-linear' ? 'all-linear' : args.target_modules)
  const where: Fields = ELSEWHERE.includes(type) ? {} : { targetModules: targets }
  if (!LORA_LIKE.includes(type)) return where
  const init = args.init_weights
  const own = type === 'adalora' ? { targetR: args.lora_rank, initR: Math.ceil(args.lora_rank * 1.5) } : { r: args.lora_rank }
  return {
    ...where, ...own,
    loraAlpha: args.lora_alpha, loraDropout: args.lora_dropout, bias: args.lora_bias,
    ...(swift ? {} : { taskType: 'CAUSAL_LM' }),
    ...(args.modules_to_save.length > 0 ? { modulesToSave: args.modules_to_save } : {}),
    ...(type === 'dora' || args.use_dora ? { useDora: true } : {}),
    ...(args.use_rslora ? { useRslora: true } : {}),
    ...(args.target_parameters ? { targetParameters: args.target_parameters } : {}),
    ...(args.lora_dtype ? { loraDtype: args.lora_dtype } : {}),
    ...(args.lorap_lr_ratio === undefined ? {} : { lorapLrRatio: args.lorap_lr_ratio }),
    ...(init === 'true' ? {} : { initLoraWeights: init === 'false' ? false : init }),
  }
}

/** A file's names of fields as those of the classes. */
function camelFields(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.replace(/_([a-zA-Z0-9])/g, (_, c: string) => c.toUpperCase()), value]))
}
