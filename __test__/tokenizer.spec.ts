import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { AutoTokenizer } from '../index.js'
import { copyOf, demo, failsWith, readJson } from './support.js'

const model = join(demo, 'base-model')

test('texts come back from their ids, and batches are padded on either side', async t => {
  const tokenizer = await AutoTokenizer.fromPretrained(model)
  const text = 'The fox waited under 12 old bridges.'
  t.is(tokenizer.decode(tokenizer.encode(text)), text)
  const [short, long] = ['A fox.', 'A fox sat below the bridge.'].map(s => tokenizer.encode(s))
  const pad = tokenizer.padTokenId!
  const right = tokenizer.encodeBatch(['A fox.', 'A fox sat below the bridge.'])
  t.deepEqual(right.inputIds, [[...short, ...Array(long.length - short.length).fill(pad)], long])
  const left = tokenizer.encodeBatch(['A fox.', 'A fox sat below the bridge.'], { paddingSide: 'left' })
  t.deepEqual(left.attentionMask[0], [...Array(long.length - short.length).fill(0), ...short.map(() => 1)])
  t.deepEqual(tokenizer.encodeBatch(['A fox sat below the bridge.'], { truncation: 3 }).inputIds, [long.slice(0, 3)])
})

test('the chat template lays a conversation out', async t => {
  const tokenizer = await AutoTokenizer.fromPretrained(model)
  const messages = [{ role: 'user', content: 'Hello.' }, { role: 'assistant', content: 'Good day.' }]
  t.is(tokenizer.applyChatTemplate(messages), 'user: Hello.\nassistant: Good day.<|endoftext|>')
  t.is(tokenizer.applyChatTemplate(messages.slice(0, 1), { addGenerationPrompt: true }), 'user: Hello.\nassistant:')
})

test('broken tokenizers and templates are errors that name the file', async t => {
  const dir = copyOf(model)
  const config = readJson(join(dir, 'tokenizer_config.json'))
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify({ ...config, chat_template: '{% for x in %}' }))
  t.regex((await failsWith(t, 'ERR_CHECKPOINT_CORRUPT', () => AutoTokenizer.fromPretrained(dir))).message, /chat_template/)
  writeFileSync(join(dir, 'tokenizer.json'), '{"model": 3}')
  t.regex((await failsWith(t, 'ERR_CHECKPOINT_CORRUPT', () => AutoTokenizer.fromPretrained(dir))).message, /tokenizer\.json/)
  await failsWith(t, 'ERR_HUB', () => AutoTokenizer.fromPretrained('no/such-tokenizer'))
})

test('ids that come one by one give the text of all, whole characters at a time', async t => {
  const tokenizer = await AutoTokenizer.fromPretrained(model)
  for (const text of ['The fox waited under 12 old bridges.', 'Grüße, 世界 — naïve 🦊🌉!', '  two  spaces\n\ttab', 'é'.repeat(9), '']) {
    const ids = tokenizer.encode(text)
    const stream = tokenizer.decodeStream()
    const pieces = ids.map(id => stream.push(id))
    t.true(pieces.every(piece => !piece.includes('\ufffd')), JSON.stringify(pieces))
    t.is(pieces.join('') + stream.end(), tokenizer.decode(ids))
    t.is(stream.push(ids) + stream.end(), tokenizer.decode(ids), 'it begins anew')
    for (let cut = 1; cut < ids.length; cut++) {
      const begun = tokenizer.decodeStream()
      t.is(ids.slice(0, cut).map(id => begun.push(id)).join('') + begun.end(), tokenizer.decode(ids.slice(0, cut)))
    }
  }
  const special = tokenizer.eosTokenId!
  t.is(tokenizer.decodeStream().push([special]), '')
  t.is(tokenizer.decodeStream({ skipSpecialTokens: false }).push([special]), tokenizer.decode([special], { skipSpecialTokens: false }))
})

test('what is no text, no id and no option is refused', async t => {
  const tokenizer = await AutoTokenizer.fromPretrained(model)
  for (const call of [
    () => tokenizer.encodeBatch(['a'], { truncation: -1 }), () => tokenizer.encodeBatch(['a'], { padding_side: 'left' } as never), () => tokenizer.encode('a', { add_special_tokens: false } as never),
    () => tokenizer.decode([1], { skip: true } as never), () => tokenizer.applyChatTemplate([], { add_generation_prompt: true } as never),
  ]) await failsWith(t, 'ERR_INVALID_CONFIG', call)
  for (const call of [
    () => tokenizer.encode(null as never), () => tokenizer.encode(5 as never), () => tokenizer.encodeBatch('a' as never), () => tokenizer.encodeBatch(['a', undefined as never]),
    () => tokenizer.decode([-1]), () => tokenizer.decode([1.5]), () => tokenizer.decodeStream().push('a' as never), () => tokenizer.tokenToId(1 as never),
    () => tokenizer.applyChatTemplate('hello' as never), () => tokenizer.applyChatTemplate([{ role: 'user', content: [{ type: 'text' }] as never }]),
  ]) await failsWith(t, 'ERR_INVALID_ARGUMENT', call)
})
