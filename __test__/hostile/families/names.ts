/** Names of adapters, which become names of folders. */
import type { Base } from '../base.js'
import type { Case } from '../case.js'
import { folder } from '../contents.js'

const BAD: Record<string, string> = {
  parent: '../escape', 'parent-only': '..', dot: '.', absolute: '/dev/null/escape', slash: 'a/b', backslash: 'a\\b', drive: 'C:escape', empty: '', space: ' ', nul: 'a\0b', newline: 'a\nb',
  escape: '\x1b[2J', long: 'n'.repeat(300), 'trailing-dot': 'name.', 'trailing-space': 'name ', reserved: 'CON', 'reserved-ext': 'aux.txt', dotted: 'a.b', 'extra-states': 'extra_states',
  bidi: 'abc\u202efdp', colon: 'name:stream', star: 'a*b', 'config-file': 'adapter_config.json',
}
const GOOD: Record<string, string> = {
  default: 'default', latin: '\u00fcn\u00efc\u00f6d\u00e9', cjk: '\u540d\u524d', emoji: '\u{1f999}', dash: '-rf', digits: '007', upper: 'DEFAULT', 'long-ok': 'n'.repeat(60),
}
/** Special in JavaScript, or parts of keys. */
const ODD = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'lora_A', 'my_lora_A_x', 'weight', 'base_layer']

export function* names(base: Base): Generator<Case> {
  const saved: Pick<Case, 'what' | 'files'> = { what: 'save_adapter', files: { out: folder } }
  const refused: Pick<Case, 'outcome' | 'kind' | 'mention'> = { outcome: 'error', kind: 'bad_name', mention: ['adapter name'] }
  for (const [name, value] of Object.entries(BAD)) {
    yield {
      name: `name-save-${name}`, ...saved, ...refused, args: { adapter_name: value, save_to: 'out' }, why: 'refused before anything is written',
      mustNotExist: ['escape', 'out/escape', 'out/a'], mustNotContain: ['\x1b', '\u202e'],
    }
  }
  for (const name of ['parent', 'absolute', 'slash', 'backslash', 'nul', 'empty']) {
    yield { name: `name-load-${name}`, what: 'load_adapter', ...refused, args: { adapter: 'adapter', adapter_name: { default: BAD[name] } }, why: 'a new name for what is loaded', files: base.swiftFolder() }
  }
  yield {
    name: 'name-load-source', what: 'load_adapter', ...refused, kind: 'unsafe_path', args: { adapter: 'adapter', adapter_name: '../secret/default' }, why: 'the name leads out of the checkpoint',
    files: { ...base.swiftFolder(), ...base.swiftFolder({ at: 'secret' }) },
  }
  for (const [name, value] of Object.entries(GOOD)) {
    yield { name: `name-ok-${name}`, ...saved, outcome: 'ok', kind: '', mention: [], args: { adapter_name: value, save_to: 'out' }, why: 'unusual, and comes back as it went' }
  }
  for (const value of ODD) {
    yield { name: `name-any-${value}`, ...saved, outcome: 'any', kind: 'bad_name', mention: [], args: { adapter_name: value, save_to: 'out' }, why: 'refused, or comes back as it went', mustNotPollute: true }
  }
  yield {
    name: 'name-listing', what: 'load_adapter', outcome: 'any', kind: 'bad_name', mention: [], args: { adapter: 'adapter' }, why: 'folders of a checkpoint have hostile names',
    files: { ...base.swiftFolder(), ...base.swiftFolder({ name: '__proto__' }), ...base.swiftFolder({ name: '\x1b[2J' }) }, mustNotPollute: true, mustNotContain: ['\x1b'],
  }
}
