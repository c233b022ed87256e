/** What lies beside the other families' cases: other files of the same folders, other names, other readers. */
import type { Base } from '../base.js'
import type { Case, Call, Expected } from '../case.js'
import { type Content, type Files, folder, json, link, pipe, text } from '../contents.js'
import { written } from '../safetensors.js'
import { GOOD, tokenizer } from './tokenizer.js'

/** What is no file that one reads. */
const SPECIAL: Record<string, (name: string) => Content> = { fifo: () => pipe, directory: () => folder, loop: name => link(name), zero: () => link('/dev/zero') }

function one(name: string, what: Call, args: Record<string, unknown>, files: Files, why: string, more: Expected = {}): Case {
  return { name: `near-${name}`, what, args, outcome: 'any', kind: '', mention: [], why, files, ...more }
}

/** A file of a folder is something else. */
function instead(files: Files, path: string, content: Content): Files {
  const others = Object.entries(files).filter(([name]) => name !== path && !name.startsWith(`${path}/`))
  return { ...Object.fromEntries(others), [path]: content }
}

export function* neighbours(base: Base): Generator<Case> {
  const swift = { ...base.swiftFolder(), 'adapter/extra_states/adapter_config.json': json({ extra_state_keys: [] }) }
  for (const path of ['configuration.json', 'README.md', 'default', 'default/additional_config.json', 'extra_states', 'extra_states/adapter_config.json', 'extra_states/adapter_model.safetensors']) {
    for (const [special, make] of Object.entries(SPECIAL)) {
      const files = instead(swift, `adapter/${path}`, make(path.split('/').at(-1)!))
      const name = `${path.replaceAll(/[/.]/g, '-')}-${special}`
      yield one(`load-${name}`, 'load_adapter', { adapter: 'adapter' }, files, `${path} is a ${special}`)
      yield one(`convert-${name}`, 'convert_to_peft', { adapter: 'adapter', save_to: 'out' }, files, `${path} is a ${special}`)
      yield one(`save-${name}`, 'save_adapter', { adapter_name: 'default', save_to: 'adapter' }, files, `${path} is a ${special} where something is saved`)
    }
  }
  for (const file of ['config.json', 'model.safetensors', 'model.safetensors.index.json', 'generation_config.json', 'adapter_config.json']) {
    for (const [special, make] of Object.entries(SPECIAL)) {
      yield one(`model-${file.replaceAll('.', '-')}-${special}`, 'load_model', { model: 'model' }, instead(base.modelFolder(), `model/${file}`, make(file)), `${file} is a ${special}`)
    }
  }
  const [{ files }] = tokenizer()
  const encode = { tokenizer: 'model/tokenizer.json', text: 'hi there' }
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja']) {
    const contents: Record<string, Content> = {
      ...Object.fromEntries(Object.entries(SPECIAL).map(([special, make]) => [special, make(file)])), array: text('[]'), deep: text('['.repeat(100_000)), '64mb-spaces': Buffer.alloc(2 ** 26, ' '),
    }
    for (const [name, content] of Object.entries(contents)) {
      yield one(`tokenizer-${file.replaceAll(/[._]/g, '-')}-${name}`, 'load_tokenizer', encode, instead(files, `model/${file}`, content), `${file} is ${name}`)
    }
  }
  const steps: Record<string, object> = {
    'replace-doubles': { normalizer: { type: 'Sequence', normalizers: Array.from({ length: 24 }, () => ({ type: 'Replace', pattern: { String: 'i' }, content: 'ii' })) } },
    'byte-level-chain': { pre_tokenizer: { type: 'Sequence', pretokenizers: Array.from({ length: 40 }, () => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false })) } },
  }
  for (const [name, more] of Object.entries(steps)) {
    const file = json({ ...GOOD, ...more })
    yield one(`tokenizer-${name}`, 'load_tokenizer', encode, instead(files, 'model/tokenizer.json', file), 'each step doubles the text', { outcome: 'error', kind: 'bad_tokenizer', mention: ['tokenizer.json', 'as long'] })
  }
  const names: Record<string, string> = {
    'console-in': 'CONIN$', 'console-out': 'CONOUT$', 'extra-states-upper': 'EXTRA_STATES', 'half-surrogate': '\ud800', 'zero-width-space': 'a\u200bb', 'line-separator': '\u2028', 'byte-order-mark': '\ufeffa',
    superscript: 'COM¹', delete: 'a\x7fb', 'next-line': 'a\x85b', isolate: 'a\u2066b', 'long-bytes': 'é'.repeat(128),
  }
  for (const [name, value] of Object.entries(names)) {
    yield one(`name-${name}`, 'save_adapter', { adapter_name: value, save_to: 'out' }, { out: folder }, 'no name of a folder, or not the same one everywhere', { outcome: 'error', kind: 'bad_name', mention: ['adapter name'] })
  }
  yield* widths(base)
}

/** Sizes that a configuration of a few bytes claims: compared with the weights, or bounded, before memory is taken. */
function* widths(base: Base): Generator<Case> {
  const refused: Expected = { outcome: 'error' }
  const claims: Record<string, Record<string, unknown>> = {
    r: base.peftConfig({ r: 1_000_000 }), replication: base.peftConfig({ layer_replication: [[0, 1_000_000]] }),
    'encoder-layers': { peft_type: 'P_TUNING', task_type: 'CAUSAL_LM', num_virtual_tokens: 4, encoder_reparameterization_type: 'LSTM', encoder_num_layers: 1_000_000 },
    'shadow-layers': base.peftConfig({ peft_type: 'SHADOW', shadow_num_hidden_layers: 1_000_000 }),
  }
  for (const [name, config] of Object.entries(claims)) {
    yield one(`width-${name}`, 'load_adapter', { adapter: 'adapter' }, base.peftFolder({ config: json(config) }), `${name} of a million`, refused)
  }
  const weights = written(new Map([...base.lora()].filter(([name]) => name.includes('q_proj'))))
  const config = json(base.peftConfig({ r: 1_000_000, rank_pattern: { q_proj: 4 } }))
  yield one('width-lacking', 'load_adapter', { adapter: 'adapter' }, base.peftFolder({ config, weights }), 'what the file lacks would take 1.5 GB', refused)
}
