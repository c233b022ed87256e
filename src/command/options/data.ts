import { boolean, integer, json, number, numbers, option, optional, text, texts, words } from '../argument.js'

/** Which rows. */
export const ROWS = {
  dataset: option(texts('FILE|ID[#N]'), [], 'Rows: files, folders or ids of a hub; #N takes N of them.'),
  val_dataset: option(texts('FILE|ID[#N]'), [], 'Rows for evaluations.'),
  dataset_format: option(words('auto', 'messages', 'sharegpt', 'alpaca', 'query-response', 'text', 'prompt-completion', 'preference', 'kto', 'classification', 'tokens'), 'auto', 'What rows are. auto: by their columns.', null),
  columns: optional(json, 'What columns of other names are: {"question": "query"}.'),
  strict: option(boolean, false, 'Makes rows that cannot be used an error; otherwise they are dropped and counted.'),
  data_seed: optional(integer({ min: 0 }), 'Seed of splits and of #N. Default: --seed.'),
}

/** Which rows train in which order, and which are kept back. */
export const MIXED = {
  split_dataset_ratio: option(number({ min: 0, max: 0.99 }), 0, 'Share of the rows that is kept for evaluations where --val_dataset is absent.'),
  interleave_prob: optional(numbers({ min: 0 }), 'Mixes datasets with these probabilities; without it they follow each other.'),
  dataset_shuffle: option(boolean, true, 'Rows in another order in each epoch.', 'train_dataloader_shuffle'),
}

export const DATA = { ...ROWS, ...MIXED }

/** How rows are trained. */
export const LEARNED = {
  loss_scale: option(words('default', 'last_round', 'all'), 'default', 'What of a conversation is trained: all answers, the last, or everything.'),
  packing: option(boolean, false, 'Puts rows together without padding; none sees another.'),
  packing_length: optional(integer({ min: 2 }), 'Tokens of a packed row. Default: --max_length.'),
  group_by_length: option(boolean, true, 'Puts rows of like lengths together.'),
}

/** Where what a run writes goes. */
export const OUTPUT = {
  output_dir: optional(text('FOLDER'), 'Where runs are kept. Default: output/MODEL.'),
  add_version: option(boolean, true, 'Writes to a folder of its own, vN-DATE-TIME, in the output folder.'),
  resume_from_checkpoint: optional(text('FOLDER'), 'Goes on with a run from its newest checkpoint, exactly, in its own folder.'),
  save_strategy: option(words('steps', 'epoch', 'no'), 'steps', 'When checkpoints are written. There is always one at the end.'),
  save_steps: option(integer({ min: 1 }), 500, 'Steps between checkpoints.'),
  save_total_limit: optional(integer({ min: 1 }), 'Checkpoints that are kept, the newest and the best. Default: all.'),
  eval_strategy: optional(words('steps', 'epoch', 'no'), 'When there are evaluations. Default: as --save_strategy.'),
  eval_steps: optional(integer({ min: 1 }), 'Steps between evaluations. Default: --save_steps.'),
  logging_steps: option(integer({ min: 1 }), 5, 'Steps between lines of the log, each of which has the mean of its steps.'),
  metric_for_best_model: option(words('loss', 'token_acc'), 'loss', 'What says which checkpoint is best.'),
  load_best_model_at_end: option(boolean, false, 'Ends with the best checkpoint\'s weights in the model.'),
  early_stop_interval: optional(integer({ min: 1 }), 'Ends the run after so many evaluations in turn that are not better.'),
  create_checkpoint_symlink: option(boolean, true, 'Makes links `last` and `best` to checkpoints.'),
}
