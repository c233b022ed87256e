/** adapter_config.json and its companions: what a stranger may write there. */
import type { Base } from '../base.js'
import type { Case, Expected } from '../case.js'
import { type Content, folder, json, jsonText, link, pipe, text } from '../contents.js'

const FILE = 'adapter_config.json'

/** The one that stands for a config of PEFT's with something else in its place. */
function one(base: Base, name: string, content: Content, why: string, { outcome = 'error', kind = outcome === 'error' ? 'bad_config' : '', mention = [], ...more }: Expected = {}): Case {
  const files = { ...base.peftFolder(), [`adapter/${FILE}`]: content }
  const named = outcome === 'error' ? [FILE, ...mention] : mention
  return { name: `config-${name}`, what: 'load_adapter', args: { adapter: 'adapter' }, outcome, kind, mention: named, why, files, ...more }
}

export function* config(base: Base): Generator<Case> {
  const plain = jsonText(base.peftConfig())
  const { [`adapter/${FILE}`]: _, ...gone } = base.peftFolder()
  yield { name: 'config-missing', what: 'load_adapter', args: { adapter: 'adapter' }, outcome: 'error', kind: 'missing_file', mention: [FILE], why: 'no config', files: gone }

  const wholes: [string, Buffer, string][] = [
    ['zero-bytes', text(''), 'an empty file'], ['not-json', text('r: 8\n'), 'YAML'], ['cut', text(plain.slice(0, -10)), 'breaks off'], ['comma', text(`${plain.slice(0, -1)},}`), 'a comma too many'],
    ['array', text('[]'), 'an array'], ['null', text('null'), 'null'], ['string', text('"LORA"'), 'a string'], ['utf16', Buffer.from(`\ufeff${plain}`, 'utf16le'), 'UTF-16'],
    ['bad-utf8', Buffer.from(plain.replace('LORA', 'LO\xffRA'), 'latin1'), 'no UTF-8'], ['deep', text('{"a":'.repeat(100_000)), '100,000 levels'],
    ['two-documents', text(plain + plain), 'two objects'], ['nul-bytes', Buffer.alloc(4096), 'a page of zeros'],
  ]
  for (const [name, bytes, why] of wholes) yield one(base, name, bytes, why)
  yield one(base, '16mb-spaces', text(' '.repeat(2 ** 24) + plain), 'padding', { outcome: 'any' })

  /** One field is another; an error names the field. */
  const field = (name: string, key: string, value: unknown, more: Expected & { why?: string } = {}) => {
    const { why = `${key} = ${jsonText(value) ?? 'nothing'}`.slice(0, 80), ...expected } = more
    return one(base, name, json(base.peftConfig({ [key]: value })), why, { mention: [key], ...expected })
  }
  const mentionless = { mention: [] }
  const unsupported: Expected = { kind: 'unsupported' }
  yield field('peft-type-missing', 'peft_type', undefined, { why: 'no peft_type' })
  yield field('peft-type-unknown', 'peft_type', 'WORMHOLE', { ...unsupported, mention: ['WORMHOLE'], why: 'an unknown tuner' })
  yield field('peft-type-number', 'peft_type', 7)
  yield field('peft-type-proto', 'peft_type', '__proto__', { ...unsupported, mention: ['__proto__'], mustNotPollute: true, why: 'a look-up must not find Object.prototype' })
  yield field('peft-type-tostring', 'peft_type', 'toString', { ...unsupported, mention: ['toString'], why: 'a look-up must not find what is inherited' })
  yield {
    name: 'config-swift-type-unknown', what: 'load_adapter', args: { adapter: 'adapter' }, outcome: 'error', kind: 'unsupported', mention: ['WORMHOLE'], why: 'an unknown tuner of SWIFT\'s',
    files: base.swiftFolder({ config: json(base.swiftConfig({ swift_type: 'WORMHOLE' })) }),
  }
  const ranks: [string, unknown][] = [
    ['zero', 0], ['negative', -4], ['fraction', 4.5], ['string', '4'], ['null', null], ['bool', true], ['list', [4]], ['object', {}], ['2-63', 2n ** 63n],
  ]
  for (const [name, value] of ranks) yield field(`r-${name}`, 'r', value)
  yield one(base, 'r-1e999', text(plain.replace('"r":4', '"r":1e999')), 'r is infinite', { mention: ['r'] })
  yield field('r-billion', 'r', 1e9, { kind: 'too_large', why: 'a rank of 10^9 is refused before memory is taken' })
  yield field('r-mismatch', 'r', 16, { ...mentionless, kind: 'shape_mismatch', why: 'the config says 16, the weights say 4' })
  yield field('alpha-string', 'lora_alpha', '8')
  yield field('alpha-null', 'lora_alpha', null)
  for (const value of ['NaN', 'Infinity', '1e999']) yield one(base, `alpha-${value.toLowerCase()}`, text(plain.replace('"lora_alpha":8', `"lora_alpha":${value}`)), `lora_alpha ${value}`)
  yield field('dropout-two', 'lora_dropout', 2)
  yield field('dropout-negative', 'lora_dropout', -0.5)
  yield field('bias-unknown', 'bias', 'everything')
  yield field('init-unknown', 'init_lora_weights', 'quantum')

  yield* targets(base, field)

  const nothing: Expected = { kind: 'no_target', mention: [] }
  yield field('exclude-all', 'exclude_modules', '.*', { ...nothing, why: 'everything is excluded' })
  yield field('exclude-invalid', 'exclude_modules', '(', { why: 'a group that is not closed' })
  yield field('save-regex', 'modules_to_save', ['lm_head('], { kind: 'no_target', why: 'a name, and no pattern: no module has it' })
  yield field('layers-range', 'layers_to_transform', [999], { ...nothing, why: 'no such layer' })
  yield field('layers-string', 'layers_to_transform', '0')
  yield field('rank-pattern-zero', 'rank_pattern', { q_proj: 0 })
  yield field('rank-pattern-billion', 'rank_pattern', { q_proj: 1e9 }, { kind: 'too_large' })
  yield field('rank-pattern-invalid', 'rank_pattern', { '(': 4 })
  yield field('rank-pattern-list', 'rank_pattern', ['q_proj'])
  yield field('alpha-pattern-string', 'alpha_pattern', { q_proj: '8' })

  const beside = (more: string) => text(plain.replace('"r":4', `"r":4,${more}`))
  yield one(base, 'rank-pattern-proto', beside('"rank_pattern":{"__proto__":8}'), 'a key that is special in JavaScript', { outcome: 'any', mustNotPollute: true })
  for (const [name, more] of [['proto', '"__proto__":{"polluted":true}'], ['constructor', '"constructor":{"prototype":{"polluted":true}}'], ['proto-list', '"__proto__":["polluted"]']]) {
    yield one(base, `pollute-${name}`, beside(more), 'an unknown key that is special in JavaScript', { outcome: 'warning', mustNotPollute: true })
  }
  const future = { field_from_the_future: { a: [1, 2] } }
  yield one(base, 'unknown-field', json(base.peftConfig(future)), 'kept, and written back by the next save', {
    outcome: 'warning', mention: ['field_from_the_future'], args: { adapter: 'adapter', save_to: 'out' }, mustKeep: future,
  })
  yield one(base, 'duplicate-key', text(plain.replace('"r":4', '"r":64,"r":4')), 'the last one counts, as in Python', { outcome: 'ok' })
  const ignored: Expected = { outcome: 'ok', mention: [] }
  yield field('auto-mapping', 'auto_mapping', { parent_library: 'evil', base_model_class: 'Evil' }, { ...ignored, why: 'nothing is imported' })
  yield field('base-path', 'base_model_name_or_path', '../../../../etc', { ...ignored, why: 'the base is given; this path is not read' })
  yield field('megatron', 'megatron_core', 'evil', { ...ignored, why: 'nothing is imported' })
  for (const [name, content] of [['directory', folder], ['loop', link(FILE)], ['dangling', link('nowhere')], ['fifo', pipe]] as const) {
    yield one(base, `is-${name}`, content, `the config is no file (${name})`, { kind: 'io' })
  }
}

type Field = (name: string, key: string, value: unknown, more?: Expected & { why?: string }) => Case

/** Which modules: patterns mean what Python's `re.fullmatch` means, and take no time. */
function* targets(base: Base, field: Field): Generator<Case> {
  const target = (name: string, value: unknown, more: Expected & { why?: string } = {}) => field(name, 'target_modules', value, more)
  const nothing: Expected = { kind: 'no_target', mention: [] }
  yield target('target-empty', [], { kind: 'no_target' })
  yield target('target-nothing', ['no_such_module'], { kind: 'no_target', mention: ['no_such_module'] })
  yield target('target-number', 5)
  yield target('target-mixed', ['q_proj', 5])
  yield target('target-nested', [['q_proj']])
  yield target('target-suffix', ['proj'], { kind: 'no_target', mention: ['proj'], why: 'a suffix counts behind a dot only' })
  yield target('target-unsupported', '.*layers\\.0', { kind: 'unsupported', mention: [], why: 'a pattern that hits a whole block' })
  yield target('regex-invalid', '(q_proj', { why: 'a group that is not closed' })
  yield target('regex-bomb', '([a-z0-9_]+\\.?)+!', { ...nothing, why: 'exponential where one tries all ways' })
  yield target('regex-size-bomb', '((a{900}){900}){900}', { mention: [], why: 'a huge automaton' })
  yield target('regex-depth', `${'('.repeat(20_000)}a${')'.repeat(20_000)}`, { mention: [], why: '20,000 groups must not overflow the stack' })
  yield target('regex-lookahead-bomb', '(?=(a*)*b)(.*.*)*Z', { ...nothing, why: 'backtracking within a look-ahead' })
  const patterns = {
    lookahead: '.*\\.(?!k_proj)[qv]_proj', lookbehind: '.*(?<=self_attn)\\.[qv]_proj', 'named-group': '.*\\.(?P<p>q|v)_proj',
    backreference: '.*?(\\d)\\.self_attn\\.[qv]_proj(?!\\1x)', 'inline-flag': '(?i).*\\.[QV]_PROJ', verbose: '(?x) .* \\. [qv]_proj # comment', possessive: '.*+(?<=[qv]_proj)',
    'end-z': '.*\\.[qv]_proj\\Z', alternation: '.*q_proj|.*v_proj', 'digit-class': '.*\\.\\d+\\..*\\.[qv]_proj',
  }
  for (const [name, pattern] of Object.entries(patterns)) {
    yield target(`python-re-${name}`, pattern, { outcome: 'ok', mention: [], modules: base.modules, why: 'Python\'s re matches the whole name and looks around' })
  }
  yield target('regex-prefix-only', 'model', { ...nothing, why: 'match() would take it, fullmatch() does not' })
  yield target('target-v-only', ['v_proj'], {
    outcome: 'warning', mention: ['q_proj'], modules: base.modules.filter(m => m.endsWith('v_proj')), why: 'the weights of q_proj have no place',
  })
}

/** Files beside the configuration. */
export function* companions(base: Base): Generator<Case> {
  const extra: [string, Buffer, boolean, string][] = [
    ['not-json', text('{'), true, 'no JSON'], ['array', json([]), true, 'no object'], ['dtype', json({ lora_dtype: 'fp7' }), true, 'an unknown dtype'],
    ['proto', text('{"__proto__":{"polluted":1}}'), false, 'pollution'], ['method', json({ to_dict: 1, r: -1 }), false, 'other fields stay as they are'],
  ]
  for (const [name, bytes, refused, why] of extra) {
    yield {
      name: `additional-${name}`, what: 'load_adapter', args: { adapter: 'adapter' }, outcome: refused ? 'error' : 'any', kind: 'bad_config', mention: refused ? ['additional_config.json'] : [], why,
      files: { ...base.peftFolder(), 'adapter/additional_config.json': bytes }, mustNotPollute: true,
    }
  }
  const states: [string, Buffer, string][] = [['not-json', text('{'), 'no JSON'], ['number', json({ extra_state_keys: 5 }), 'no list'], ['regex', json({ extra_state_keys: ['('] }), 'no pattern']]
  for (const [name, bytes, why] of states) {
    yield {
      name: `extra-states-${name}`, what: 'load_adapter', args: { adapter: 'adapter' }, outcome: 'error', kind: 'bad_config', mention: ['extra_states'], why,
      files: { ...base.swiftFolder(), 'adapter/extra_states/adapter_config.json': bytes },
    }
  }
}
