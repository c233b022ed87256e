/** Tensors by name: of a model, an optimizer, a file. */
import { nativeAsync } from './errors.js'
import * as binding from './native/binding.js'
import { NativeStateDict } from './native/binding.js'
import { checkArgument, instance, path as pathKind, record, string } from './options.js'
import { Tensor } from './tensor.js'

const tensors = { ...record(instance(Tensor, 'a Tensor')), expected: 'an object of Tensors by name' }

/** @internal Fills a native dictionary. */
export function stateDict(call: string, state: Record<string, Tensor>): NativeStateDict {
  checkArgument(call, 'state', state, tensors)
  const dict = new NativeStateDict()
  for (const [name, tensor] of Object.entries(state)) dict.set(name, tensor.native)
  return dict
}

/** @internal A record without a prototype: names come from files. */
export function fromStateDict(dict: NativeStateDict): Record<string, Tensor> {
  const out: Record<string, Tensor> = Object.create(null)
  const values = dict.tensors()
  for (const [i, name] of dict.names().entries()) out[name] = new Tensor(values[i])
  return out
}

/** Reads a whole safetensors file. 8-, 16- and 32-bit signed integers widen to i64. */
export async function readSafetensors(path: string): Promise<Record<string, Tensor>> {
  checkArgument('readSafetensors', 'path', path, pathKind)
  return fromStateDict(await nativeAsync(() => binding.readSafetensors(path)))
}

/** Writes a safetensors file, whole or not at all. `metadata` is the header's, of which both sides are texts. */
export async function writeSafetensors(path: string, state: Record<string, Tensor>, metadata: Record<string, string> = {}): Promise<void> {
  checkArgument('writeSafetensors', 'path', path, pathKind)
  checkArgument('writeSafetensors', 'metadata', metadata, record(string))
  const given = stateDict('writeSafetensors', state)
  await nativeAsync(() => binding.writeSafetensors(path, given, metadata))
}
