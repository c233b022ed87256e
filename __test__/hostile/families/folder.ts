/** What is where a folder or a file should be, for loads and for saves. */
import type { Base } from '../base.js'
import type { Case, Expected } from '../case.js'
import { type Files, folder as directory, link, pipe, text } from '../contents.js'

const FILE = 'adapter_model.safetensors'

export function* folder(base: Base): Generator<Case> {
  function load(name: string, files: Files, why: string, { outcome = 'error', kind = outcome === 'error' ? 'io' : '', mention = outcome === 'error' ? ['adapter'] : [], ...more }: Expected = {}): Case {
    return { name: `folder-${name}`, what: 'load_adapter', args: { adapter: 'adapter' }, outcome, kind, mention, why, files, ...more }
  }
  function save(name: string, files: Files, why: string, { outcome = 'error', kind = outcome === 'error' ? 'io' : '', mention = outcome === 'error' ? ['out'] : [], ...more }: Expected = {}): Case {
    return { name: `folder-save-${name}`, what: 'save_adapter', args: { adapter_name: 'default', save_to: 'out' }, outcome, kind, mention, why, files, ...more }
  }
  const good = base.swiftFolder()
  const peft = base.peftFolder()
  const weights = { mention: [FILE] }

  yield load('missing', {}, 'no such folder: says so')
  yield load('empty', { adapter: directory }, 'nothing inside', { kind: 'missing_file' })
  yield load('is-file', { adapter: text('not a folder') }, 'a file')
  yield load('loop', { adapter: link('adapter') }, 'a link to itself')
  yield load('dangling', { ...peft, [`adapter/${FILE}`]: link('nowhere') }, 'the weights link to nothing', weights)
  yield load('weights-fifo', { ...peft, [`adapter/${FILE}`]: pipe }, 'a pipe must not hang the loader', weights)
  yield load('weights-directory', { ...peft, [`adapter/${FILE}`]: directory }, 'a folder', weights)
  yield load('unreadable', { ...peft, [`adapter/${FILE}`]: { bytes: text('x'), mode: 0 } }, 'may not be read', { ...weights, skipIfRoot: true })
  yield load('parent-loop', { ...good, 'adapter/loop': link('.'), 'adapter/up': link('..') }, 'links that lead back are not walked', { outcome: 'ok' })
  const many = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`adapter/d${i}`, directory]))
  yield load('many-entries', { ...good, ...many }, '2,000 folders that are none of ours', { outcome: 'ok' })
  yield load('readme-directory', { ...good, 'adapter/README.md': directory }, 'loading needs no model card', { outcome: 'ok' })

  yield save('on-file', { out: text('keep me') }, 'the target is a file', { mustKeepBytes: { out: 'keep me' } })
  yield save('read-only', { out: { folder: true, mode: 0o555 } }, 'may not be written', { skipIfRoot: true })
  yield save('parent-file', { out: link('file/below'), file: text('keep me') }, 'the parent is a file', { mustKeepBytes: { file: 'keep me' } })
  const victim: Expected = { outcome: 'ok', mustKeepBytes: { victim: 'keep me' } }
  yield save('over-link', { victim: text('keep me'), [`out/default/${FILE}`]: link('../../victim') }, 'the link is replaced, never what it points to', victim)
  yield save('config-link', { victim: text('keep me'), 'out/default/adapter_config.json': link('../../victim') }, 'the same for the config', victim)
  yield save('over-fifo', { [`out/default/${FILE}`]: pipe }, 'must not wait for a pipe', { outcome: 'any' })
  yield save('over-directory', { [`out/default/${FILE}`]: directory }, 'a folder where a file goes', weights)
  yield save('readme-bad-utf8', { 'out/README.md': Buffer.from('# caf\xe9\n', 'latin1') }, 'an old model card in another encoding', { outcome: 'any' })
  yield save('readme-directory', { 'out/README.md': directory }, 'a folder where the card goes', { outcome: 'any' })
  yield save('leftovers', { 'out/default/.tmp-old': text('x') }, 'what a killed save has left does no harm', { outcome: 'ok' })
  yield save('on-source', good, 'saving onto the files that were just read keeps every value', { outcome: 'ok', args: { adapter: 'adapter', save_to: 'adapter' } })
}
