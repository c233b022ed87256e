/** tokenizer.json: what it may hold, and how long encoding may take. */
import type { Case, Outcome } from '../case.js'
import { json, text } from '../contents.js'

/** A small tokenizer. */
export const GOOD = {
  version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null, pre_tokenizer: { type: 'Whitespace' } as object, post_processor: null, decoder: null,
  model: { type: 'WordLevel', vocab: { '<unk>': 0, hi: 1 }, unk_token: '<unk>' } as object,
}

export function* tokenizer(): Generator<Case> {
  function one(name: string, bytes: Buffer, why: string, outcome: Outcome | 'any' = 'error'): Case {
    const [kind, mention] = outcome === 'error' ? ['bad_tokenizer', ['tokenizer.json']] : ['', []]
    const args = { tokenizer: 'model/tokenizer.json', text: 'hi there '.repeat(50) }
    return { name: `tokenizer-${name}`, what: 'load_tokenizer', args, outcome, kind, mention, why, files: { 'model/tokenizer.json': bytes } }
  }
  const split = (pattern: string) => json({ ...GOOD, pre_tokenizer: { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false } })
  const { model: _, ...incomplete } = GOOD
  const words = (vocab: object) => json({ ...GOOD, model: { ...GOOD.model, vocab } })

  yield one('control', json(GOOD), 'a small tokenizer', 'ok')
  const broken: Record<string, Buffer> = {
    'zero-bytes': text(''), 'not-json': text('{'), array: text('[]'), deep: text('['.repeat(100_000)), 'model-missing': json(incomplete), 'model-unknown': json({ ...GOOD, model: { type: 'Wormhole' } }),
    'merges-unknown': json({ ...GOOD, model: { type: 'BPE', vocab: { a: 0 }, merges: ['x y'] } }), 'id-negative': words({ a: -1 }), 'pattern-invalid': split('('),
  }
  for (const [name, bytes] of Object.entries(broken)) yield one(name, bytes, name.replace('-', ' '))
  yield one('id-gap', words({ '<unk>': 0, a: 4_294_967_294 }), 'nothing may be reserved for an id near 2^32', 'any')
  yield one('pattern-bomb', split('(h?i? ?t?h?e?r?e? ?)*!'), 'backtracking while splitting', 'any')
}
