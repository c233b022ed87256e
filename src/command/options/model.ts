import { device } from '../../dtype.js'
import { boolean, integer, json, number, option, optional, text, texts, words } from '../argument.js'

/** Which model, and how it is loaded. */
export const MODEL = {
  model: optional(text('FOLDER|ID'), 'The model: a folder, or an id of a hub.'),
  use_hf: option(boolean, false, 'Looks ids up at Hugging Face and not at ModelScope; as USE_HF=1.'),
  model_revision: optional(text('NAME'), 'Branch, tag or commit of the model.'),
  torch_dtype: optional(words('float32', 'bfloat16', 'float16', 'auto'), 'Type of the weights. Default: float32 on the CPU, as stored elsewhere.'),
  device: option({ ...text('cpu|cuda:N'), kind: device }, 'cpu', 'Where the model is.', 'device_map'),
  quant_method: optional(words('bnb', 'gguf'), 'Packs the frozen base: bnb (NF4) or gguf (Q4_K, Q8_0).'),
  quant_bits: optional(integer({ min: 4, max: 8 }), 'Bits of packed weights: 4 or 8.'),
  adapters: option(texts('[NAME=]FOLDER'), [], 'Adapters on the model; of several each has a name. A checkpoint folder of a run is one.'),
  load_args: optional(boolean, 'Takes up what args.json of the adapter or checkpoint says of the model. Default: true with --adapters or --resume_from_checkpoint.'),
  num_threads: optional(integer({ min: 1 }), 'Threads that calculate. Default: as many as there are cores.', null),
}

/** How rows become token ids. */
export const TEMPLATE = {
  template: optional(text('NAME|FILE'), 'A chat template: a Jinja file, or the name of one of the tokenizer\'s. Default: the tokenizer\'s.'),
  template_kwargs: optional(json, 'Variables of the chat template, such as {"enable_thinking": false}.', null),
  system: optional(text('TEXT|FILE'), 'The system message of conversations that have none.'),
  max_length: optional(integer({ min: 2 }), 'Tokens of a row, at most. Default: the model\'s context.'),
  truncation_strategy: option(words('delete', 'left', 'right', 'split'), 'delete', 'What becomes of longer rows: they go, lose their first tokens (left) or their last (right), or become several.'),
}

/** How answers are drawn. */
export const GENERATION = {
  max_new_tokens: optional(integer({ min: 1 }), 'Tokens of an answer, at most. Default: what the context has room for, up to 2048.'),
  temperature: optional(number({ min: 0 }), '0 takes the most likely token. Default: as generation_config.json says.'),
  top_k: optional(integer({ min: 0 }), 'Only so many of the most likely tokens; 0 is all.'),
  top_p: optional(number({ above: 0, max: 1 }), 'Only the most likely tokens that together have this probability.'),
  min_p: optional(number({ min: 0, max: 1 }), 'Only tokens with this share of the most likely one\'s probability.', null),
  repetition_penalty: optional(number({ above: 0 }), 'Above 1: tokens that are in the text count less.'),
  stop_words: option(texts('TEXT'), [], 'Texts that end an answer.'),
  seed: option(integer({ min: 0 }), 42, 'Seed of everything that is drawn.'),
}

/** What commands print. */
export const PRINTED = {
  json: option(boolean, false, 'Prints results as JSON.', null),
}
