/** Base models: config.json against the weights, and both against sense. */
import type { Base } from '../base.js'
import type { Case, Expected } from '../case.js'
import { type Files, json, jsonText, text } from '../contents.js'
import { type StoredTensor, tensor, values, written } from '../safetensors.js'

export function* model(base: Base): Generator<Case> {
  function one(name: string, files: Files, why: string, { outcome = 'error', kind = outcome === 'error' ? 'bad_config' : '', mention = outcome === 'error' ? ['config.json'] : [], ...more }: Expected = {}): Case {
    return { name: `model-${name}`, what: 'load_model', args: { model: 'model' }, outcome, kind, mention, why, files, ...more }
  }
  /** A field of config.json is another; an error names the field. */
  const field = (name: string, key: string, value: unknown, { why = `${key} = ${jsonText(value)}`.slice(0, 80), ...more }: Expected & { why?: string } = {}) =>
    one(name, base.modelFolder({ config: json({ ...base.config, [key]: value }) }), why, { mention: [key], ...more })
  const { 'model/config.json': _, ...bare } = base.modelFolder()
  const { 'model/model.safetensors': __, ...empty } = base.modelFolder()

  yield one('control', base.modelFolder(), 'an untouched model', { outcome: 'ok' })
  yield one('no-config', bare, 'no config', { kind: 'missing_file' })
  yield one('no-weights', empty, 'no weights', { kind: 'missing_file', mention: ['model.safetensors'] })
  for (const [name, bytes] of Object.entries({ 'zero-bytes': '', 'not-json': '{', array: '[]', deep: '['.repeat(100_000) })) {
    yield one(`config-${name}`, base.modelFolder({ config: text(bytes) }), `the config is ${name}`)
  }
  const unsupported: Expected = { kind: 'unsupported' }
  yield field('type-unknown', 'model_type', 'wormhole', { ...unsupported, mention: ['wormhole'] })
  yield field('type-path', 'model_type', '../../evil', unsupported)
  yield field('type-proto', 'model_type', '__proto__', { ...unsupported, mention: ['__proto__'], mustNotPollute: true })
  yield field('type-null', 'model_type', null, unsupported)
  for (const [name, value] of Object.entries({ trillion: 1e12, zero: 0, negative: -1, string: '4', fraction: 2.5, more: 99 })) yield field(`layers-${name}`, 'num_hidden_layers', value, { mention: ['layers'] })
  for (const [name, value] of Object.entries({ trillion: 1e12, zero: 0, odd: 63 })) yield field(`hidden-${name}`, 'hidden_size', value)
  yield field('heads-zero', 'num_attention_heads', 0)
  yield field('heads-uneven', 'num_attention_heads', 7, { mention: [] })
  yield field('kv-heads-zero', 'num_key_value_heads', 0)
  yield field('kv-heads-uneven', 'num_key_value_heads', 3, { mention: [] })
  yield field('head-dim-zero', 'head_dim', 0)
  yield field('vocab-huge', 'vocab_size', 2 ** 40)
  yield field('vocab-negative', 'vocab_size', -5)
  yield field('intermediate-zero', 'intermediate_size', 0, { mention: [] })
  yield field('positions-huge', 'max_position_embeddings', 1e12, { outcome: 'any', mention: [], why: 'no table is made of so many' })
  yield field('eps-string', 'rms_norm_eps', 'tiny')
  yield field('eps-negative', 'rms_norm_eps', -1)
  yield field('activation-unknown', 'hidden_act', 'warp', { mention: ['warp'] })
  yield field('quantization', 'quantization_config', { quant_method: 'wormhole' }, { ...unsupported, mention: ['quantization'] })
  yield field('auto-map', 'auto_map', { AutoModelForCausalLM: 'evil--x.Y' }, { outcome: 'ok', mention: [], why: 'code of the folder is never run' })
  yield field('dtype-unknown', 'dtype', 'float7', { mention: ['float7'] })

  const norm = [...base.weights.keys()].find(name => name.endsWith('norm.weight'))!
  const { dtype, shape: dims, bytes } = base.weights.get(norm)!
  const shape = dims.map(Number)
  const nan = Buffer.alloc(bytes.length)
  for (let i = 0; i < shape[0]; i++) nan.writeFloatLE(NaN, 4 * i)
  const tensors: [string, string, StoredTensor | undefined, Expected][] = [
    ['missing-tensor', norm, undefined, { kind: 'missing_tensor', mention: [norm] }], ['extra-tensor', 'ghost.weight', tensor([2]), { outcome: 'warning', mention: ['ghost.weight'] }],
    ['wrong-shape', norm, { dtype, shape: [Math.floor(shape[0] / 2), 2], bytes }, { kind: 'shape_mismatch', mention: [norm] }], ['int-tensor', norm, { dtype: 'I32', shape, bytes }, { kind: 'dtype', mention: [norm] }],
    ['f64-tensor', norm, { dtype: 'F64', shape, bytes: values(shape, 1, 'F64') }, { outcome: 'ok' }], ['nan', norm, { dtype, shape, bytes: nan }, { outcome: 'any' }],
  ]
  for (const [name, key, value, expected] of tensors) {
    const all = new Map(base.weights)
    if (value) all.set(key, value)
    else all.delete(key)
    yield one(name, base.modelFolder({ weights: written(all) }), name.replace('-', ' '), expected)
  }
  const corrupt: Expected = { kind: 'corrupt_file', mention: ['model.safetensors'] }
  yield one('weights-zero-bytes', base.modelFolder({ weights: Buffer.alloc(0) }), 'empty weights', corrupt)
  yield one('weights-cut', base.modelFolder({ weights: base.file.subarray(0, Math.floor(base.file.length / 2)) }), 'a download that stopped', corrupt)
  yield one('is-file', { model: text('x') }, 'a file', { kind: 'io', mention: ['model'] })
  yield one('generation-config', { ...base.modelFolder(), 'model/generation_config.json': text('{') }, 'a file beside is broken', { outcome: 'any' })
}
