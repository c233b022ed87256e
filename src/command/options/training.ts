import { boolean, integer, json, number, numbers, option, optional, text, texts, words } from '../argument.js'
import { OPTIMIZER_NAMES, type OptimizerName } from '../optimizer-names.js'
import { TUNER_TYPES, type TunerType } from '../tuner-types.js'

/** What is trained of a model. */
export const TUNER = {
  tuner_type: option(words<TunerType>(...TUNER_TYPES), 'lora', `What is trained: ${TUNER_TYPES.join(', ')}.`),
  tuner_backend: optional(words('peft', 'swift'), 'Whose LoRA. Default: PEFT\'s; SWIFT\'s with --lorap_lr_ratio or --neftune_noise_alpha.'),
  target_modules: option(texts('NAME'), ['all-linear'], 'Endings of the names of modules that get an adapter, or all-linear.'),
  target_regex: optional(text('REGEX'), 'A regular expression for whole names of modules, in the place of --target_modules.'),
  target_parameters: optional(texts('NAME'), 'Parameters that get a LoRA, such as those of experts.'),
  modules_to_save: option(texts('NAME'), [], 'Modules that train as they are and are saved with the adapter.'),
  lora_rank: option(integer({ min: 1 }), 8, 'Rank of the update.'),
  lora_alpha: option(number({ above: 0 }), 32, 'The update is scaled by lora_alpha / lora_rank.'),
  lora_dropout: option(number({ min: 0, max: 1 }), 0.05, 'Dropout before LoRA\'s first matrix.'),
  lora_bias: option(words('none', 'all', 'lora_only'), 'none', 'Which biases train, too.'),
  lora_dtype: optional(words('float16', 'bfloat16', 'float32'), 'Type of the adapter\'s weights. Default: float32 over halves, or the layer\'s.'),
  use_dora: option(boolean, false, 'DoRA: weight and direction apart.'),
  use_rslora: option(boolean, false, 'rsLoRA: scaled by lora_alpha / sqrt(lora_rank).'),
  lorap_lr_ratio: optional(number({ above: 0 }), 'LoRA+: how much faster B learns than A.'),
  init_weights: option(text('true|false|NAME'), 'true', 'How LoRA starts: true, false, gaussian, orthogonal, pissa, pissa_niter_N, olora, mica, loftq.'),
  neftune_noise_alpha: optional(number({ above: 0 }), 'NEFTune: noise on the embeddings while training.'),
  tuner_args: option(json, {}, 'Fields of the tuner\'s configuration, as adapter_config.json has them; they come before all other options.', null),
}

/** How weights change. */
export const OPTIMIZER = {
  optim: option(words<OptimizerName>(...OPTIMIZER_NAMES), 'adamw_torch_fused', `The optimizer: ${OPTIMIZER_NAMES.join(', ')}.`),
  learning_rate: optional(number({ above: 0 }), 'Default: 1e-4, or 1e-5 where all weights train.'),
  lr_scheduler_type: option(words('linear', 'cosine', 'cosine_with_restarts', 'cosine_with_min_lr', 'polynomial', 'constant', 'constant_with_warmup', 'inverse_sqrt', 'warmup_stable_decay'), 'cosine', 'How the learning rate changes.'),
  lr_scheduler_kwargs: option(json, {}, 'More for it, such as {"min_lr": 1e-6}.'),
  warmup_ratio: option(number({ min: 0, max: 1 }), 0, 'Share of the steps in which the learning rate rises.'),
  warmup_steps: optional(integer({ min: 0 }), 'The same as a number of steps.'),
  weight_decay: option(number({ min: 0 }), 0.1, 'Decay of all weights but biases and norms.'),
  adam_beta1: option(number({ min: 0, max: 0.9999999 }), 0.9, 'How slowly the mean of gradients changes.'),
  adam_beta2: option(number({ min: 0, max: 0.9999999 }), 0.95, 'How slowly the mean of their squares changes.'),
  adam_epsilon: option(number({ min: 0 }), 1e-8, 'Added to the denominator.'),
  max_grad_norm: option(number({ min: 0 }), 1, 'Gradients whose norm is larger are scaled down to it; 0 leaves them.'),
  galore_rank: option(integer({ min: 1 }), 128, 'GaLore: dimensions of the space that gradients are projected to.'),
  galore_target_modules: optional(texts('NAME'), 'GaLore: parts of module paths. Default: all blocks.'),
  galore_update_proj_gap: option(integer({ min: 1 }), 50, 'GaLore: steps between new bases.'),
  galore_scale: option(number({ above: 0 }), 1, 'GaLore: factor on what comes back.'),
  galore_proj_type: option(words('std', 'reverse_std', 'left', 'right', 'full'), 'std', 'GaLore: on which side gradients are projected.'),
  lisa_activated_layers: option(integer({ min: 0 }), 0, 'LISA: so many layers train at a time; 0 turns it off. Needs --tuner_type full.'),
  lisa_step_interval: option(integer({ min: 1 }), 20, 'LISA: steps between draws.'),
}

/** How long, and in which portions. */
export const TRAINING = {
  num_train_epochs: option(integer({ min: 1 }), 3, 'Passes over the rows.'),
  max_steps: option(integer({ min: -1 }), -1, 'Ends the run after so many steps, whatever the epochs; -1 is no limit.'),
  per_device_train_batch_size: option(integer({ min: 1 }), 1, 'Rows of a batch.'),
  per_device_eval_batch_size: option(integer({ min: 1 }), 1, 'Rows of a batch of evaluations.'),
  gradient_accumulation_steps: optional(integer({ min: 1 }), 'Batches of a step. Default: as many as make 16 rows.'),
  gradient_checkpointing: option(boolean, false, 'Runs blocks again in the backward pass: less memory for a third more time. ms-swift\'s default is true.'),
  seed: option(integer({ min: 0 }), 42, 'Seed of everything that is drawn.'),
}

/** Preferences and rewards. */
export const PREFERENCE = {
  rlhf_type: option(words('dpo', 'orpo', 'simpo', 'cpo', 'kto', 'rm', 'grpo'), 'dpo', 'The method.'),
  beta: optional(number({ min: 0 }), 'How close the model stays to the reference. Default: 0.1; simpo 2, grpo 0.04.'),
  loss_type: optional(text('NAME'), 'Shape of the loss, as TRL calls it.'),
  label_smoothing: optional(number({ min: 0, max: 0.5 }), 'dpo: how many of the preferences are taken to be wrong.'),
  rpo_alpha: optional(number({ min: 0 }), 'dpo: weight of the preferred answers\' own loss.'),
  simpo_gamma: optional(number({ min: 0 }), 'simpo: the margin. Default: 1.'),
  cpo_alpha: optional(number({ min: 0 }), 'cpo, simpo: weight of the preferred answers\' own loss.'),
  desirable_weight: optional(number({ min: 0 }), 'kto: weight of good answers.'),
  undesirable_weight: optional(number({ min: 0 }), 'kto: weight of bad ones.'),
  center_rewards_coefficient: optional(number({ min: 0 }), 'rm: keeps rewards around 0.'),
  ref_model: optional(text('FOLDER|ID'), 'The reference. Default: the model without its adapters.'),
  reward_funcs: option(texts('FILE'), [], 'grpo: modules whose default export says how good an answer is: (completion) => number.'),
  reward_weights: optional(numbers(), 'grpo: how much each of them counts.'),
  num_generations: option(integer({ min: 2 }), 8, 'grpo: answers to each prompt.'),
  max_completion_length: option(integer({ min: 1 }), 512, 'grpo: tokens of an answer.'),
  temperature: option(number({ above: 0 }), 0.9, 'grpo: how answers are drawn.'),
  epsilon: optional(number({ min: 0 }), 'grpo: how far ratios may be from 1. Default: 0.2.'),
  epsilon_high: optional(number({ min: 0 }), 'grpo: the same upwards.'),
  scale_rewards: optional(words('group', 'batch', 'none'), 'grpo: what advantages are divided by.'),
}
