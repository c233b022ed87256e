/** Names of optimizers on the command line: transformers', and the classes that they are here. Nothing here loads the native half. */
export const OPTIMIZERS = {
  adamw_torch_fused: 'AdamW', adamw_torch: 'AdamW', adamw: 'AdamW', adamw_8bit: 'AdamW8bit', adamw_bnb_8bit: 'AdamW8bit', paged_adamw_8bit: 'AdamW8bit', sgd: 'SGD', adafactor: 'Adafactor',
  galore_adamw: 'GaLoreAdamW', galore_adafactor: 'GaLoreAdafactor', qgalore_adamw: 'QGaLoreAdamW', lorafa: 'LoraFA', muon: 'Muon',
} as const

/** What `--optim` takes. */
export type OptimizerName = keyof typeof OPTIMIZERS

export const OPTIMIZER_NAMES = Object.keys(OPTIMIZERS) as OptimizerName[]
