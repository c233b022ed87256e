/** Models in shards: an index that lies, leads elsewhere, or lacks something. */
import type { Base } from '../base.js'
import type { Case, Expected } from '../case.js'
import { type Content, type Files, folder, json, jsonText, link, pipe, text } from '../contents.js'
import { written } from '../safetensors.js'

const [A, B] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
const INDEX = 'model.safetensors.index.json'

export function* index(base: Base): Generator<Case> {
  const names = [...base.weights.keys()]
  const half = Math.floor(names.length / 2)
  const some = (from: number, to?: number) => written(new Map([...base.weights].slice(from, to)))
  const shards = { [A]: some(0, half), [B]: some(half) }
  const map = Object.fromEntries(names.map((name, i) => [name, i < half ? A : B]))
  const target = names.at(-1)!

  function files(indexFile: Buffer = json({ metadata: { total_size: 0 }, weight_map: map })): Files {
    return { 'model/config.json': json(base.config), [`model/${A}`]: shards[A], [`model/${B}`]: shards[B], [`model/${INDEX}`]: indexFile }
  }
  const mapped = (change: Record<string, unknown>) => files(json({ metadata: { total_size: 0 }, weight_map: { ...map, ...change } }))
  /** The second shard is something else; without a content it is missing. */
  function second(content?: Content): Files {
    const { [`model/${B}`]: _, ...rest } = files()
    return content === undefined ? rest : { ...rest, [`model/${B}`]: content }
  }
  function one(name: string, given: Files, why: string, { outcome = 'error', kind = outcome === 'error' ? 'bad_index' : '', mention = outcome === 'error' ? [INDEX] : [], ...more }: Expected = {}): Case {
    return { name: `index-${name}`, what: 'load_model', args: { model: 'model' }, outcome, kind, mention, why, files: given, ...more }
  }

  yield one('control', files(), 'two good shards', { outcome: 'ok' })
  yield one('missing-shard', second(), 'a shard is absent', { kind: 'missing_file', mention: [B] })
  const secret = { 'secret.safetensors': shards[B] }
  const outside = {
    parent: '../secret.safetensors', 'parent-deep': 'x/../../secret.safetensors', backslash: '..\\secret.safetensors', absolute: '/dev/zero', drive: 'C:\\secret.safetensors',
    url: 'https://example.invalid/secret.safetensors', 'file-url': 'file:../secret.safetensors', nul: `${B}\0.txt`, empty: '', dot: '.',
  }
  for (const [name, path] of Object.entries(outside)) {
    yield one(`path-${name}`, { ...mapped({ [target]: path }), ...secret }, `the map leads out of the folder (${name})`, { kind: 'unsafe_path', mention: [target] })
  }
  const wholes: [string, Buffer, string][] = [
    ['not-json', text('{oops'), 'no JSON'], ['zero-bytes', text(''), 'an empty file'], ['array', json([]), 'no object'], ['no-map', json({ metadata: {} }), 'no weight_map'],
    ['map-array', json({ weight_map: [A, B] }), 'a map that is an array'], ['map-null', json({ weight_map: null }), 'a map that is null'],
    ['deep', text('['.repeat(100_000)), '100,000 brackets'],
  ]
  for (const [name, bytes, why] of wholes) yield one(name, files(bytes), why)
  yield one('value-number', mapped({ [target]: 7 }), 'a shard\'s name is a number', { mention: [target] })
  yield one('value-object', mapped({ [target]: { file: B } }), 'a shard\'s name is an object', { mention: [target] })
  yield one('wrong-shard', mapped({ [target]: A }), 'the map names a shard that has not the tensor', { kind: 'missing_tensor', mention: [target, A] })
  yield one('total-size-lie', files(json({ metadata: { total_size: 10n ** 18n }, weight_map: map })), 'nothing may be reserved for total_size', { outcome: 'ok' })
  yield one('proto', files(text(`{"weight_map":{"__proto__":{"polluted":1},${jsonText(map).slice(1)}}`)), 'pollution through the map', { mention: ['__proto__'], mustNotPollute: true })
  const ghosts = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`ghost.${i}.weight`, A]))
  yield one('many-entries', mapped(ghosts), '50,000 entries without tensors', { kind: 'missing_tensor', mention: ['ghost.0.weight'] })
  const io: Expected = { kind: 'io', mention: [B] }
  yield one('shard-directory', second(folder), 'a folder where a shard should be', io)
  yield one('shard-fifo', second(pipe), 'a pipe must not hang the loader', io)
  yield one('shard-loop', second(link(B)), 'a link to itself', io)
  yield one('hub-cache-layout', { ...second(link('../blobs/1')), 'blobs/1': shards[B] }, 'the hub\'s cache is made of links', { outcome: 'ok' })
}
