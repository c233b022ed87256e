/** All cases, family by family; each is made when it is asked for, as some hold 16 MB. */
import type { Base } from './base.js'
import type { Case } from './case.js'
import { companions, config } from './families/config.js'
import { convert } from './families/convert.js'
import { data } from './families/data.js'
import { folder } from './families/folder.js'
import { gguf } from './families/gguf.js'
import { index } from './families/index.js'
import { model } from './families/model.js'
import { names } from './families/names.js'
import { neighbours } from './families/neighbours.js'
import { pickle } from './families/pickle.js'
import { safetensors } from './families/safetensors.js'
import { tokenizer } from './families/tokenizer.js'
import { weights } from './families/weights.js'

export const FAMILIES: ((base: Base) => Generator<Case>)[] = [
  safetensors, index, config, companions, weights, pickle, names, folder, data, model, convert, tokenizer, gguf, neighbours,
]

export function* corpus(base: Base): Generator<Case> {
  for (const family of FAMILIES) yield* family(base)
}
