import { boolean, integer, number, option, optional, text, texts, words } from '../argument.js'
import { DATA, LEARNED, OUTPUT, ROWS } from './data.js'
import { GENERATION, MODEL, PRINTED, TEMPLATE } from './model.js'
import { OPTIMIZER, PREFERENCE, TRAINING, TUNER } from './training.js'

/** What every command takes. */
export const COMMON = {
  config: optional(text('FILE'), 'Options from a file: JSON, YAML, or a module\'s default export. The command line comes before it.'),
  help: option(boolean, false, 'Shows this.'),
}

/** What every command that trains takes, beside model and rows. */
const TRAINED = { ...TUNER, ...OPTIMIZER, ...TRAINING, ...OUTPUT, ...PRINTED, ...COMMON }

export const SFT = { ...MODEL, ...DATA, ...TEMPLATE, ...LEARNED, ...TRAINED }
export const RLHF = { ...PREFERENCE, ...MODEL, ...DATA, ...TEMPLATE, ...TRAINED }
export const INFER = {
  ...MODEL, ...ROWS, ...TEMPLATE, ...GENERATION, ...PRINTED, ...COMMON,
  stream: option(boolean, true, 'Shows answers as they come.'),
  max_batch_size: option(integer({ min: 1 }), 8, 'Rows that are answered at once. ms-swift\'s default is 1.'),
  result_path: optional(text('FILE'), 'Where the answers to --val_dataset go. Default: infer_result/DATE-TIME.jsonl in the adapter\'s folder.'),
}
export const EVAL = {
  ...MODEL, ...ROWS, ...TEMPLATE, ...GENERATION, ...PRINTED, ...COMMON,
  loss_scale: LEARNED.loss_scale,
  metric: option(words('all', 'loss', 'exact_match'), 'all', 'What is measured: loss (with perplexity and token accuracy), exact match of answers, or all.'),
  max_batch_size: INFER.max_batch_size,
}
export const EXPORT = {
  model: MODEL.model, use_hf: MODEL.use_hf, model_revision: MODEL.model_revision, adapters: MODEL.adapters, load_args: MODEL.load_args, ...PRINTED, ...COMMON,
  torch_dtype: optional(words('float32', 'bfloat16', 'float16'), 'Type of the merged weights. Default: as the base is stored.'),
  merge_lora: option(boolean, false, 'Writes the model with its adapters merged into the weights.'),
  to_peft_format: option(boolean, false, 'Writes SWIFT\'s LoRAs as PEFT reads them.'),
  output_dir: optional(text('FOLDER'), 'Where to. Default: the adapter\'s folder with -merged or -peft behind its name.'),
  exist_ok: option(boolean, false, 'Replaces a folder that is there.'),
  max_shard_size: option(text('SIZE'), '5GB', 'Size of a file of weights, at most.'),
}
export const INSPECT = {
  folders: option(texts('FOLDER'), [], 'Folders of models, adapters, checkpoints and runs.', null),
  model: optional(text('FOLDER'), 'The base that adapters are compared with. Default: the one that they name.'),
  target_modules: TUNER.target_modules,
  target_regex: TUNER.target_regex,
  ...PRINTED, ...COMMON,
}
export const SHOW = {
  ...MODEL, ...ROWS, ...TEMPLATE, ...PRINTED, ...COMMON,
  loss_scale: LEARNED.loss_scale,
  num_rows: option(integer({ min: 0 }), 3, 'Rows that are shown; all are counted.', null),
}
export const PLAN = {
  model: optional(text('FOLDER'), 'The model, of which config.json is read.'),
  tuner_type: TUNER.tuner_type, target_modules: TUNER.target_modules, lora_rank: TUNER.lora_rank, lora_dropout: TUNER.lora_dropout,
  quant_method: MODEL.quant_method, quant_bits: MODEL.quant_bits, max_length: TEMPLATE.max_length, optim: OPTIMIZER.optim,
  per_device_train_batch_size: TRAINING.per_device_train_batch_size, gradient_checkpointing: TRAINING.gradient_checkpointing,
  memory: optional(number({ above: 0 }), 'Memory that there is, in GiB. Default: this machine\'s.', null),
  ...PRINTED, ...COMMON,
}
