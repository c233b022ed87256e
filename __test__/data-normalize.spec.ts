/** Rows of every form as ms-swift and TRL read them. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { loadDataset, type LoadDatasetOptions, type Row } from '../index.js'
import { failsWith, fixtures, readJson, rng } from './support.js'

const folder = join(fixtures, 'datasets')
type Fields = Record<string, unknown>

/** As JSON has it, without ids of calls: ms-swift drops them. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (name, v: unknown) => {
  if (name === 'tool_call_id' || (name === 'id' && String(v).startsWith('call'))) return undefined
  return typeof v === 'bigint' ? String(v) : v
}))

for (const name of readdirSync(folder)) {
  const expected = readJson(join(folder, name, 'normalized.json')) as { files: string[]; kind: string; rows: Fields[]; openai?: Fields[]; pairs?: Fields[] }
  for (const file of expected.files) {
    test(`${name}/${file}`, async t => {
      const rows = await loadDataset<Fields>(join(folder, name, file), { format: expected.kind === 'raw' ? 'raw' : 'auto' }).toArray()
      const wanted = expected.pairs ?? expected.openai ?? expected.rows
      if (expected.kind !== 'raw') return t.deepEqual(plain(rows), plain(wanted))
      // Bytes are hexadecimal in the file, and big integers texts.
      const shown = rows.map(row => ({ ...row, bin: Buffer.from(row.bin as Uint8Array).toString('hex'), big: String(row.big), i: row.i === null ? null : String(row.i) }))
      t.deepEqual(plain(shown), plain(wanted))
    })
  }
}

const read = (rows: object[], options: LoadDatasetOptions = {}) => loadDataset<Row>(rows, { strict: true, ...options }).toArray()
const user = (content: string) => ({ role: 'user', content })
const assistant = (content: string) => ({ role: 'assistant', content })

test('columns are found in any case, and by names that the option gives them', async t => {
  const wanted = [{ messages: [user('q'), assistant('a')] }]
  t.deepEqual<unknown, unknown>(await read([{ Question: 'q', ANSWER: 'a' }]), wanted)
  t.deepEqual<unknown, unknown>(await read([{ ask: 'q', reply: 'a', question: 'other' }], { columns: { ask: 'query', reply: 'response' } }), wanted)
  t.deepEqual<unknown, unknown>(await read([{ ask: 'q', reply: 'a' }], { columns: { ASK: 'query', reply: 'response' } }), wanted)
})

test('what several columns claim is nobody\'s, unless one has that very name', async t => {
  t.deepEqual<unknown, unknown>(await read([{ question: 'q', answer: 'a', output: 'b' }]), [{ messages: [user('q')] }])
  t.deepEqual<unknown, unknown>(await read([{ question: 'q', response: 'a', output: 'b' }]), [{ messages: [user('q'), assistant('a')] }])
  // The second row has a column that the first has not: the file is of one form.
  t.deepEqual<unknown, unknown>(await read([{ question: 'q', answer: 'a' }, { question: 'q', answer: 'a', solution: 's' }]), [{ messages: [user('q')] }, { messages: [user('q')] }])
})

test('lists in texts are read as JSON and as Python prints them', async t => {
  const wanted = [{ messages: [user('it\'s'), assistant('b\n'), user('q'), assistant('a')] }]
  t.deepEqual<unknown, unknown>(await read([{ query: 'q', response: 'a', history: `[["it's", 'b\\n'],]` }]), wanted)
  t.deepEqual<unknown, unknown>(await read([{ messages: `[{'role': "user", 'content': "it's"}, {'role': 'assistant', 'content': 'b\\n'}]` }]), [{ messages: wanted[0].messages.slice(0, 2) }])
  await failsWith(t, 'ERR_DATASET', () => read([{ query: 'q', response: 'a', history: '[__import__("os")]' }]))
})

test('rounds of ShareGPT and blocks of Anthropic are messages', async t => {
  t.deepEqual<unknown, unknown>(await read([{ conversation: [{ human: 'q', assistant: 'a' }], system: 's' }]), [{ messages: [{ role: 'system', content: 's' }, user('q'), assistant('a')] }])
  const blocks = [
    user('q'),
    { role: 'assistant', content: [{ type: 'text', text: 'look' }, { type: 'tool_use', id: '1', name: 'f', input: { x: 1 } }, { type: 'tool_use', id: '2', name: 'g', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: '2', content: 'two' }, { type: 'tool_result', tool_use_id: '1', content: [{ type: 'text', text: 'one' }] }] },
    assistant('a'),
  ]
  const call = (id: string, name: string, args: object) => ({ id, type: 'function', function: { name, arguments: args } })
  t.deepEqual<unknown, unknown>(await read([{ messages: blocks }]), [{
    messages: [user('q'), { role: 'assistant', content: 'look', tool_calls: [call('1', 'f', { x: 1 }), call('2', 'g', {})] }, { role: 'tool', tool_call_id: '1', content: 'one' }, { role: 'tool', tool_call_id: '2', content: 'two' }, assistant('a')],
  }])
})

test('nulls that Arrow put into tools go, and those of a schema stay', async t => {
  const tools = [{ type: 'function', function: { name: 'f', strict: null, parameters: { properties: { a: { default: null, enum: [null, 1] }, b: null } } } }]
  const kept = [{ type: 'function', function: { name: 'f', parameters: { properties: { a: { default: null, enum: [null, 1] } } } } }]
  t.deepEqual<unknown, unknown>(await read([{ messages: [user('q')], tools }]), [{ messages: [user('q')], tools: kept }])
  t.deepEqual<unknown, unknown>(await read([{ messages: [user('q')], tools: JSON.stringify(tools) }]), [{ messages: [user('q')], tools: kept }])
  t.deepEqual<unknown, unknown>(await read([{ messages: [user('q')], tools: '' }]), [{ messages: [user('q')] }])
})

test('formats read what auto reads otherwise', async t => {
  const [prompt, completion] = ['p', 'c']
  t.deepEqual<unknown, unknown>(await read([{ prompt, completion }], { format: 'prompt-completion' }), [{ prompt, completion }])
  t.deepEqual<unknown, unknown>(await read([{ text: 'x' }], { format: 'text' }), [{ text: 'x' }])
  t.deepEqual<unknown, unknown>(await read([{ messages: [user('q'), assistant('a')], label: 1 }], { format: 'kto' }), [{ messages: [user('q'), assistant('a')], label: true }])
  t.deepEqual<unknown, unknown>(await read([{ text: 'x', label: '2' }], { format: 'classification' }), [{ text: 'x', label: 2 }])
  t.deepEqual<unknown, unknown>(await read([{ system: 's', question: 'q', chosen: 'a', rejected: 'b' }]), [{ prompt: [{ role: 'system', content: 's' }, user('q')], chosen: [assistant('a')], rejected: [assistant('b')] }])
  t.deepEqual<unknown, unknown>(await read([{ prompt: 'q', chosen: [user('q'), assistant('a')], rejected: [user('q'), assistant('b')] }]), [{ prompt: [user('q')], chosen: [assistant('a')], rejected: [assistant('b')] }])
  t.deepEqual<unknown, unknown>(await read([{ chosen: 'Q: 2', rejected: 'Q: 22' }]), [{ prompt: 'Q: ', chosen: '2', rejected: '22' }])
  t.deepEqual<unknown, unknown>(await read([{ odd: 1 }], { format: 'raw' }), [{ odd: 1 }])
  t.deepEqual<unknown, unknown>(await read([{ query: 'q', response: 'a', score: 3 }], { keepColumns: ['score'] }), [{ messages: [user('q'), assistant('a')], score: 3 }])
})

test('a bad row is named, and dropped where that is allowed', async t => {
  const bad: [object, string][] = [
    [{ messages: [] }, 'rows, row 1: messages: there are no messages'],
    [{ messages: [{ role: 'user', content: null }] }, 'rows, row 1: messages[0].content: expected text, found null'],
    [{ messages: [{ role: 'narrator', content: 'x' }] }, 'rows, row 1: messages[0].role: "narrator" is none of system, user, assistant, tool, tool_call, tool_response'],
    [{ messages: [user('q'), { role: 'assistant', content: [{ type: 'image_url' }] }] }, 'rows, row 1: messages[1].content: expected parts { type: \'text\', text }, found type "image_url"'],
    [{ messages: [user('q')], images: ['x.png'] }, 'rows, row 1: images: there are models of text only'],
    [{ messages: [user('q')], label: 'good' }, 'rows, row 1: label: expected a class\'s number, true or false, found "good"'],
  ]
  for (const [row, message] of bad) {
    const error = await failsWith(t, 'ERR_DATASET', () => read([{ messages: [user('q')] }, row]))
    t.is(error.message, message)
    const data = loadDataset([{ messages: [user('q')] }, row])
    t.is((await data.toArray()).length, 1)
    t.is(data.skipped, 1)
  }
  t.like(await failsWith(t, 'ERR_DATASET', () => read([bad[1][0]])), { details: { path: 'rows', row: 0, column: 'messages[0].content' } })
  t.regex((await failsWith(t, 'ERR_DATASET', () => read([{ sentence: 'x' }]))).message, /no form of rows is known: the columns are sentence/)
})

test('whatever stands in columns, rows are read or named', async t => {
  const next = rng(11)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]
  const deep = JSON.parse(`${'['.repeat(400)}${']'.repeat(400)}`) as unknown
  const odd = [null, undefined, '', 'x', '[]', '[[', '{"a": 1}', '[["q", "a"]]', 0, 1.5, -1, NaN, 10n, true, false, [], {}, [null], [[]], [['q', 'a']], [{}], ['x'], deep, { role: 'user' }, user('q'), new Uint8Array(2),
    [user('q'), assistant('a')], [{ from: 'human', value: 'q' }, { from: 'gpt', value: null }], [{ human: 'q', bot: 'a' }], [{ role: 'tool_call', content: '{}' }], [{ role: 'assistant', content: null, tool_calls: [null] }],
    [{ role: 'assistant', content: '', tool_calls: [{ function: { name: 1 } }] }], [{ role: 'assistant', content: [{ type: 'tool_use' }, null] }], [{ role: 'user', content: [{ type: 'tool_result', content: [1] }] }], { toString: 1 }]
  const columns = ['messages', 'conversations', 'system', 'query', 'prompt', 'response', 'completion', 'text', 'label', 'tools', 'history', 'instruction', 'input', 'output', 'chosen', 'rejected', 'rejected_response',
    'rejected_messages', 'input_ids', 'labels', 'attention_mask', 'margin', 'chat_template_kwargs', 'images', '__proto__', 'constructor', '']
  const formats = ['auto', 'auto', 'auto', 'messages', 'alpaca', 'query-response', 'text', 'prompt-completion', 'preference', 'kto', 'classification', 'tokens', 'raw'] as const
  let read = 0
  for (let i = 0; i < 6000; i++) {
    const row = Object.fromEntries(Array.from({ length: 1 + Math.floor(next() * 4) }, () => [pick(columns), pick(odd)]))
    try {
      read += (await loadDataset([row], { format: pick(formats), strict: true }).toArray()).length
    } catch (error) {
      t.is((error as { code?: string }).code, 'ERR_DATASET', `${(error as Error).stack}`)
    }
  }
  t.true(read > 500, `${read}`)
})

test('a column called __proto__ is a column', async t => {
  const rows = await read([JSON.parse('{"messages": [{"role": "user", "content": "q", "__proto__": {"loss": true}}], "__proto__": {"tools": [{}]}}') as object])
  t.deepEqual<unknown, unknown>(rows, [{ messages: [user('q')] }])
  t.is(({} as Fields).tools, undefined)
})
