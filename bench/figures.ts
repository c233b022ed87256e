/** What is measured, shared by the program that compares and the process that measures. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AutoModel } from '../index.js'

export interface Shape {
  rows: number
  tokens: number
  /** Multiply-adds of one forward pass per token that matrices take, heads and embeddings included. */
  weights: number
  layers: number
  hidden: number
}

export interface Figure {
  name: string
  model: 'S' | 'M' | 'MiniLM' | 'large'
  /** What one number is. */
  unit: 's' | 'ms' | 'MiB'
  /** Floating-point operations of one measurement, for what is bound by arithmetic. */
  flops?: number
  /** Timed calls in one process. */
  repeats: number
}

export const LORA_RANK = 8
export const QV = ['q_proj', 'v_proj']
export const ALL_LINEAR = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
export const BERT_QV = ['query', 'value']

const llama = (hidden: number, layers: number, intermediate: number, vocab: number, heads: number, kv: number) => ({
  architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_size: hidden, num_hidden_layers: layers, intermediate_size: intermediate,
  vocab_size: vocab, num_attention_heads: heads, num_key_value_heads: kv, max_position_embeddings: 1024, rms_norm_eps: 1e-5, tie_word_embeddings: false,
  hidden_act: 'silu', attention_bias: false, mlp_bias: false, bos_token_id: 0, eos_token_id: 0, initializer_range: 0.02,
})
const CONFIGS: Record<Figure['model'], Record<string, unknown>> = {
  // The quickstart's shape.
  S: llama(256, 4, 640, 4096, 4, 2),
  M: llama(512, 8, 1408, 4096, 8, 8),
  MiniLM: {
    architectures: ['BertModel'], model_type: 'bert', hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12, intermediate_size: 1536, vocab_size: 30522,
    max_position_embeddings: 512, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0, pad_token_id: 0,
  },
  // Some 200 million parameters.
  large: llama(1024, 14, 2816, 16384, 16, 16),
}

export const SHAPES: Record<'S' | 'M' | 'MiniLM', Shape> = {
  S: { rows: 12, tokens: 64, weights: 4 * (256 * 256 * 2 + 256 * 128 * 2 + 3 * 256 * 640) + 256 * 4096, layers: 4, hidden: 256 },
  M: { rows: 4, tokens: 256, weights: 8 * (4 * 512 * 512 + 3 * 512 * 1408) + 512 * 4096, layers: 8, hidden: 512 },
  MiniLM: { rows: 16, tokens: 64, weights: 6 * (4 * 384 * 384 + 2 * 384 * 1536), layers: 6, hidden: 384 },
}

/** Matrix products of a pass: the weights', and the two of attention (half of them are masked in a decoder; both sides may skip those). */
function forward(s: Shape): number {
  return 2 * s.rows * s.tokens * s.weights + 4 * s.rows * s.layers * s.tokens * s.tokens * s.hidden
}
/** A frozen weight costs one product in the backward pass, attention four. */
function step(s: Shape): number {
  return 4 * s.rows * s.tokens * s.weights + 12 * s.rows * s.layers * s.tokens * s.tokens * s.hidden
}

/** A configuration of each of PEFT's types, in Python's names, which both sides read. */
export const TYPES: Record<string, Record<string, unknown>> = JSON.parse(readFileSync(join(__dirname, '../../bench/types.json'), 'utf8'))

export const FIGURES: Figure[] = [
  ...Object.keys(TYPES).map((type): Figure => ({ name: `type ${type}`, model: 'M', unit: 'ms', flops: step(SHAPES.M), repeats: 3 })),
  { name: 'start to first forward', model: 'S', unit: 's', repeats: 1 },
  { name: 'load base', model: 'M', unit: 'ms', repeats: 5 },
  { name: 'load 20 adapters', model: 'M', unit: 'ms', repeats: 2 },
  { name: 'forward S', model: 'S', unit: 'ms', flops: forward(SHAPES.S), repeats: 10 },
  { name: 'forward M', model: 'M', unit: 'ms', flops: forward(SHAPES.M), repeats: 5 },
  { name: 'forward MiniLM', model: 'MiniLM', unit: 'ms', flops: forward(SHAPES.MiniLM), repeats: 10 },
  { name: 'step S, q and v', model: 'S', unit: 'ms', flops: step(SHAPES.S), repeats: 10 },
  { name: 'step S, all linear', model: 'S', unit: 'ms', flops: step(SHAPES.S), repeats: 10 },
  { name: 'step M, q and v', model: 'M', unit: 'ms', flops: step(SHAPES.M), repeats: 5 },
  { name: 'step M, all linear', model: 'M', unit: 'ms', flops: step(SHAPES.M), repeats: 5 },
  { name: 'step M, DoRA q and v', model: 'M', unit: 'ms', flops: step(SHAPES.M), repeats: 4 },
  { name: 'step M, all linear, NF4', model: 'M', unit: 'ms', flops: step(SHAPES.M), repeats: 4 },
  { name: 'forward M, bf16', model: 'M', unit: 'ms', flops: forward(SHAPES.M), repeats: 5 },
  { name: 'generate 48 tokens, bf16', model: 'M', unit: 'ms', repeats: 2 },
  { name: 'generate 48 tokens, NF4', model: 'M', unit: 'ms', repeats: 2 },
  { name: 'step MiniLM, q and v', model: 'MiniLM', unit: 'ms', flops: step(SHAPES.MiniLM), repeats: 8 },
  { name: 'generate 48 tokens, batch 1', model: 'M', unit: 'ms', repeats: 2 },
  { name: 'generate 48 tokens, batch 8', model: 'M', unit: 'ms', repeats: 2 },
  { name: 'forward M, one adapter', model: 'M', unit: 'ms', repeats: 6 },
  { name: 'forward M, four adapters', model: 'M', unit: 'ms', repeats: 6 },
  { name: 'call of a linear layer', model: 'M', unit: 'ms', repeats: 2000 },
  { name: 'layers of a call, 100', model: 'M', unit: 'ms', repeats: 500 },
  { name: 'switch adapters', model: 'M', unit: 'ms', repeats: 20 },
  { name: 'merge and unmerge', model: 'M', unit: 'ms', repeats: 5 },
  { name: 'merge on disk, 200 M', model: 'large', unit: 's', repeats: 1 },
  { name: 'peak memory: step M, all linear', model: 'M', unit: 'MiB', repeats: 3 },
  { name: 'peak memory: step 200 M, NF4', model: 'large', unit: 'MiB', repeats: 1 },
  { name: 'peak memory: merge on disk', model: 'large', unit: 'MiB', repeats: 1 },
]

export const adapterDirectory = (dir: string, model: string) => join(dir, `${model}-adapter`)

/** Writes the models (random weights) that both sides load, once. */
export async function makeModels(dir: string, models: Iterable<Figure['model']>): Promise<void> {
  mkdirSync(dir, { recursive: true })
  for (const name of new Set(models)) {
    const at = join(dir, name)
    if (existsSync(join(at, 'config.json'))) continue
    const model = await AutoModel.fromConfig(CONFIGS[name], { seed: 1 })
    await model.savePretrained(at, name === 'large' ? { maxShardSize: '200MB' } : {})
    model.dispose()
  }
}

/** The same token ids on both sides. */
export const ids = (rows: number, tokens: number, vocab = 4096): number[][] =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: tokens }, (_t, j) => (i * 7919 + j * 104729) % (vocab - 8) + 4))
