/** Names of tuners on the command line, and the classes of their configurations. Nothing here loads the native half. */

/** PEFT's, by the class's name in this package. */
export const PEFT_TUNERS = {
  lora: 'LoraConfig', dora: 'LoraConfig', adalora: 'AdaLoraConfig', adamss: 'AdamssConfig', adaption_prompt: 'AdaptionPromptConfig', beft: 'BeftConfig', boft: 'BOFTConfig', c3a: 'C3AConfig',
  cartridge: 'CartridgeConfig', cpt: 'CPTConfig', deft: 'DeftConfig', delora: 'DeloraConfig', fourierft: 'FourierFTConfig', frod: 'FrodConfig', glora: 'GloraConfig',
  gralora: 'GraloraConfig', hira: 'HiraConfig', hra: 'HRAConfig', ia3: 'IA3Config', lily: 'LilyConfig', ln_tuning: 'LNTuningConfig', loha: 'LoHaConfig', lokr: 'LoKrConfig', miss: 'MissConfig',
  multitask_prompt_tuning: 'MultitaskPromptTuningConfig', oft: 'OFTConfig', osf: 'OSFConfig', p_tuning: 'PromptEncoderConfig', peanut: 'PeanutConfig', poly: 'PolyConfig',
  prefix_tuning: 'PrefixTuningConfig', prompt_tuning: 'PromptTuningConfig', psoft: 'PsoftConfig', pvera: 'PveraConfig', randlora: 'RandLoraConfig', road: 'RoadConfig', shadow: 'ShadowConfig',
  shira: 'ShiraConfig', supertuning: 'SupertuningConfig', tinylora: 'TinyLoraConfig', trainable_tokens: 'TrainableTokensConfig', unilora: 'UniLoraConfig', vblora: 'VBLoRAConfig',
  vera: 'VeraConfig', waveft: 'WaveFTConfig', xlora: 'XLoraConfig',
} as const

/** SWIFT's; its LoRA is `--tuner_type lora --tuner_backend swift`. */
export const SWIFT_TUNERS = {
  longlora: 'LongLoRAConfig', adapter: 'AdapterConfig', prompt: 'PromptConfig', side: 'SideConfig', restuning: 'ResTuningConfig', scetuning: 'SCETuningConfig', neftune: 'NEFTuneConfig',
  llamapro: 'LLaMAProConfig', part: 'PartConfig', reft: 'ReftConfig',
} as const

/** What `--tuner_type` takes. */
export type TunerType = keyof typeof PEFT_TUNERS | keyof typeof SWIFT_TUNERS | 'full'

export const TUNER_TYPES = ['full', ...Object.keys(PEFT_TUNERS), ...Object.keys(SWIFT_TUNERS)] as TunerType[]
