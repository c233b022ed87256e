/** Pickles that call, bombs, and archives that break off: parsed here, never run. */
import type { Base } from '../base.js'
import type { Case, Expected } from '../case.js'
import { type Files, json, text } from '../contents.js'
import { archive, calling, dict, type Layout, ops, rebuilt, state, unicode } from '../pickle.js'
import { type StoredTensor, written } from '../safetensors.js'
import { bomb, type Member } from '../zip.js'

const BIN = 'adapter_model.bin'
const TOUCH = 'open(\'canary\',\'w\').close()'
/** The command that would leave its trace. */
const system = () => calling('os', 'system', 'touch canary')

export function* pickle(base: Base): Generator<Case> {
  const lora = base.lora()
  const [name, { shape }] = lora.entries().next().value as [string, StoredTensor]
  const [rows, columns] = shape.map(Number)
  const numel = rows * columns

  function one(given: string, bytes: Buffer, why: string, { outcome = 'error', kind = outcome === 'error' ? 'unsafe_pickle' : '', mention = outcome === 'error' ? [BIN] : [], ...more }: Expected = {}, files?: Files): Case {
    const peft = { 'adapter/adapter_config.json': json(base.peftConfig()), [`adapter/${BIN}`]: bytes }
    return { name: `pickle-${given}`, what: 'load_adapter', args: { adapter: 'adapter' }, outcome, kind, mention, why, files: { ...peft, ...files }, mustNotExist: ['canary'], ...more }
  }
  const swift = (bytes: Buffer): Files => ({ 'adapter/default/adapter_config.json': json(base.swiftConfig()), [`adapter/default/${BIN}`]: bytes })
  /** In SWIFT's layout, without files of PEFT's. */
  const inSwift = (given: string, bytes: Buffer, why: string, more: Expected): Case => ({ ...one(given, bytes, why, more), files: swift(bytes) })
  const zeros: [string, Buffer][] = [['0', Buffer.alloc(numel * 4)]]
  const entry = (key: string, dims: number[], stride: number[], layout: Layout = { numel }) => dict([[name, rebuilt(key, dims, stride, layout)]])
  const shaped = (dims: number[], stride: number[], layout?: Layout) => archive(entry('0', dims, stride, layout), zeros)

  yield one('benign', state(lora), 'what torch.save writes of an adapter', { outcome: 'ok' })
  yield inSwift('benign-swift', state(base.lora({ peft: false })), 'SWIFT refuses .bin, and says so', { kind: 'unsupported', mention: [BIN, 'safetensors'] })
  const calls: [string, Buffer][] = [
    ['os-system', system()], ['posix-system', calling('posix', 'system', 'touch canary')], ['eval', calling('builtins', 'eval', TOUCH)], ['exec', calling('builtins', 'exec', TOUCH)],
    ['py2-builtin', calling('__builtin__', 'eval', TOUCH)], ['open', calling('builtins', 'open', 'canary', 'w')], ['runpy', calling('runpy', '_run_code', TOUCH)],
    ['attribute', calling('torch', 'os.system', 'touch canary')], ['torch-load', calling('torch.serialization', 'load', 'canary')],
    ['stack-global', ops('\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch canary\x85R.')], ['inst', ops('(X\x0c\x00\x00\x00touch canaryios\nsystem\n.')],
    ['obj', ops('(cos\nsystem\nX\x0c\x00\x00\x00touch canaryo.')], ['build', ops('\x80\x02ctypes\nSimpleNamespace\n)R}X\x01\x00\x00\x00axsb.')], ['extension', ops('\x80\x02\x82\x01)R.')],
    ['late', ops(entry('0', [rows, columns], [columns, 1], { numel }).subarray(0, -1), system().subarray(2))],
  ]
  for (const [given, bytes] of calls) yield one(given, archive(bytes, zeros), 'would run code in a loader that lets it')
  yield one('bare', system(), 'a pickle without the archive')
  yield inSwift('swift-malicious', archive(system()), 'in SWIFT\'s layout', {})
  const safe = { 'adapter/adapter_model.safetensors': written(lora) }
  yield one('beside-safetensors', archive(system()), 'safetensors comes first, the .bin stays closed', { outcome: 'ok' }, safe)
  yield one('training-args', archive(system()), 'a checkpoint\'s other pickles stay closed', { outcome: 'ok' }, { ...safe, 'adapter/training_args.bin': system(), 'adapter/optimizer.pt': system() })
  yield {
    ...one('extra-states', archive(system()), 'a pickle in extra_states', { kind: 'unsupported' }),
    files: { ...base.swiftFolder(), 'adapter/extra_states/adapter_config.json': json({ extra_state_keys: [] }), [`adapter/extra_states/${BIN}`]: archive(system()) },
  }
  yield {
    ...one('base', archive(system()), 'a base model with a pickle alone', { kind: 'unsupported', mention: ['safetensors'] }), what: 'load_model', args: { model: 'model' },
    files: { 'model/config.json': json(base.config), 'model/pytorch_model.bin': archive(system()) },
  }
  yield { ...one('named-safetensors', system(), 'a pickle under the safe name', { kind: 'corrupt_file', mention: ['adapter_model.safetensors'] }), files: base.peftFolder({ weights: system() }) }

  const corrupt = (given: string, bytes: Buffer, why: string) => one(given, bytes, why, { kind: 'corrupt_file' })
  const doublings = Array.from({ length: 60 }, (_, i) => String.fromCharCode(0x68, i, 0x68, i, 0x86, 0x71, i + 1))
  yield corrupt('memo-bomb', archive(ops('\x80\x02)q\x00', ...doublings, '.')), '60 doublings: 2^60 objects where the memo is copied')
  yield corrupt('deep', archive(ops('\x80\x02)', '\x85'.repeat(1_000_000), '.')), 'a million tuples in each other must not overflow the stack')
  const broken: [string, string | Buffer, string][] = [
    ['huge-string', '\x80\x02X\xf0\xff\xff\xffx.', 'a string of 4 GiB in 20 bytes'], ['long1', `\x80\x02\x8a\xff${'\xff'.repeat(255)}.`, 'an integer of 255 bytes'],
    ['stack-empty', '\x80\x02R.', 'takes from an empty stack'], ['no-mark', '\x80\x02t.', 'no mark on the stack'], ['unknown-opcode', '\x80\x02\xff.', 'no such opcode'], ['no-stop', '\x80\x02}', 'breaks off'],
    ['short-args', ops('\x80\x02}', unicode(name), 'ctorch._utils\n_rebuild_tensor_v2\n)Rs.'), 'a tensor of no arguments'], ['list-root', '\x80\x02].', 'the outermost is a list'],
  ]
  for (const [given, bytes, why] of broken) yield corrupt(given, archive(ops(bytes)), why)

  const most = 2 ** 31 - 1
  const layouts: [string, Buffer, string][] = [
    ['shape-bomb', shaped([most, most], [most, 1]), 'a shape far above its storage'], ['shape-overflow', shaped([2 ** 40, 2 ** 40], [2 ** 40, 1], { numel: 2 ** 62 }), 'the number of elements overflows 64 bits'],
    ['stride-zero', shaped([100_000, 100_000], [0, 0], { numel: 1 }), '40 GB of four bytes'], ['stride-negative', shaped([rows, columns], [-columns, -1]), 'negative strides'],
    ['offset-past-end', shaped([rows, columns], [columns, 1], { offset: 2 ** 40, numel }), 'begins behind its storage'],
    ['offset-negative', shaped([rows, columns], [columns, 1], { offset: -64, numel }), 'begins before its storage'],
    ['storage-missing', archive(entry('9', [rows, columns], [columns, 1])), 'names a member that is not there'],
    ['storage-short', archive(entry('0', [rows, columns], [columns, 1]), [['0', Buffer.alloc(8)]]), 'the storage is shorter than it says'],
  ]
  for (const [given, bytes, why] of layouts) yield corrupt(given, bytes, why)

  const zeroed = entry('0', [16_384, 32_768], [32_768, 1], { numel: 2 ** 29 })
  yield corrupt('zip-bomb', archive(zeroed, [], [bomb('archive/data/0', 2 ** 31)]), '2 GiB of 2 MB')
  yield corrupt('zip-cut', state(lora).subarray(0, -40), 'the directory breaks off')
  yield corrupt('not-zip', Buffer.alloc(64), 'zeros')
  yield corrupt('zero-bytes', Buffer.alloc(0), 'an empty file')
  yield corrupt('safetensors-inside', written(lora), 'a safetensors file under the wrong name')
  // Archives that are whole, with a state of no tensors: they would change nothing.
  const slips: Member[] = [{ name: '../../canary', bytes: text('x') }, { name: '/canary', bytes: text('x') }]
  yield one('zip-slip', archive(dict([]), [], slips), 'members lead outside; nothing is unpacked', { kind: 'mismatch' })
  yield one('two-roots', archive(dict([]), [], [{ name: 'other/data.pkl', bytes: system() }]), 'data.pkl twice; the one beside the storages counts', { kind: 'mismatch' })
}
