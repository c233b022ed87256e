/** SWIFT's checkpoints on their way to PEFT's layout. */
import type { Base } from '../base.js'
import type { Case, Expected } from '../case.js'
import { type Files, folder, json, text } from '../contents.js'
import { archive, calling } from '../pickle.js'

export function* convert(base: Base): Generator<Case> {
  function one(name: string, files: Files, why: string, { outcome = 'error', kind = outcome === 'error' ? 'not_convertible' : '', mention = [], args = {}, ...more }: Expected = {}): Case {
    return { name: `convert-${name}`, what: 'convert_to_peft', args: { adapter: 'adapter', save_to: 'out', ...args }, outcome, kind, mention, why, files, ...more }
  }
  const whole = { mustNotExist: ['out/adapter_config.json', 'out/default'] }
  const gone: Expected = { kind: 'missing_file', mention: ['adapter'], ...whole }
  const good = base.swiftFolder()
  yield one('control', good, 'a plain checkpoint of a LoRA', { outcome: 'ok' })
  yield one('in-place', good, 'the output is the input', { outcome: 'ok', args: { save_to: 'adapter' } })
  yield one('extra-states', { ...good, 'adapter/extra_states/adapter_config.json': json({ extra_state_keys: [] }) }, 'PEFT has no extra states', { mention: ['extra'], ...whole })
  yield one('merged-linear', base.swiftFolder({ config: json(base.swiftConfig({ use_merged_linear: true })) }), 'an option of SWIFT\'s alone', { mention: ['use_merged_linear'], ...whole })
  yield one('other-tuner', base.swiftFolder({ config: json({ swift_type: 'ADAPTER', dim: 64, adapter_length: 8 }) }), 'no LoRA', { mention: ['ADAPTER'], ...whole })
  yield one('missing', {}, 'no such checkpoint', gone)
  yield one('no-adapters', { adapter: folder }, 'no adapter inside', gone)
  yield one('one-bad', { ...good, ...base.swiftFolder({ name: 'second', weights: Buffer.alloc(0) }) }, 'all or none', { kind: 'corrupt_file', mention: ['second'], ...whole })
  const pickle = { 'adapter/default/adapter_config.json': json(base.swiftConfig()), 'adapter/default/adapter_model.bin': archive(calling('os', 'system', 'touch canary')) }
  yield one('bin-only', pickle, 'a pickle', { kind: 'unsupported', mention: ['adapter_model.bin'], mustNotExist: ['canary'] })
  yield one('out-is-file', { ...good, out: text('keep me') }, 'the target is a file', { kind: 'io', mention: ['out'], mustKeepBytes: { out: 'keep me' } })
  yield one('out-inside-input', good, 'the target lies in the source: no copy without end', { outcome: 'any', args: { save_to: 'adapter/out' } })
}
