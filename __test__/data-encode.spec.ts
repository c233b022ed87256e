/** Token ids and labels as ms-swift and TRL give them. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  AutoTokenizer, batches, type ChatRow, type ClassRow, encodeDataset, encodeRow, type EncodeRowOptions, loadDataset, type Message, type PairRow, parseJson, type Row, type RowTokenizer,
  type TextRow, type Turn, type UnpairedRow,
} from '../index.js'
import { jsonText } from '../src/data/json-source.js'
import { failsWith, fixtures, readJson, temp } from './support.js'

const labels = (...path: string[]) => readJson(join(fixtures, 'labels', ...path))
const tokenizerOf = (name: string) => AutoTokenizer.fromPretrained(join(fixtures, 'chat-templates', name))
const rowsOf = (name: string): ChatRow[] => {
  const { rows, openai } = readJson(join(fixtures, 'datasets', name, 'normalized.json')) as { rows: ChatRow[]; openai?: ChatRow[] }
  return openai ?? rows
}

/** A tokenizer that knows what one conversation becomes. */
const knowing = (inputIds: number[], turns: Turn[], seen: (messages: readonly object[], options?: object) => void = () => {}): RowTokenizer => ({
  encode: () => { throw new Error('no text is encoded') },
  decode: () => '',
  encodeChat(messages, options) {
    seen(messages, options)
    return { inputIds, turns, skipped: [] }
  },
})

interface Row3 { input_ids: number[]; turns: [number, number, number][]; labels: Record<'assistant' | 'last', number[]>; raises?: string }
const turnsOf = (turns: Row3['turns']): Turn[] => turns.map(([message, start, end]) => ({ message, start, end }))

for (const file of readdirSync(join(fixtures, 'labels/chat'))) {
  const expected = labels('chat', file) as Record<string, Row3[]> & { thinking_rows?: ChatRow[]; kwargs: Record<string, unknown> }
  for (const dataset of ['openai-messages', 'openai-tools', 'thinking'].filter(name => expected[name]?.some(row => row.raises === undefined))) {
    test(`labels of ${dataset} with ${file.replace('.json', '')}`, async t => {
      const rows = dataset === 'thinking' ? expected.thinking_rows! : rowsOf(dataset)
      const real = await tokenizerOf(file.replace('.json', ''))
      for (const [n, { input_ids: inputIds, turns, labels: wanted, raises }] of expected[dataset].entries()) {
        if (raises !== undefined) {
          t.throws(() => encodeRow(real, rows[n]), { code: 'ERR_INVALID_CONFIG' })
          continue
        }
        const options = { templateKwargs: expected.kwargs }
        for (const loss of ['assistant', 'last'] as const) t.deepEqual(encodeRow(real, rows[n], { loss, ...options }), [{ inputIds, labels: wanted[loss] }], `row ${n}, ${loss}`)
        const tokenizer = knowing(inputIds, turnsOf(turns))
        for (const loss of ['assistant', 'last'] as const) t.deepEqual(encodeRow(tokenizer, rows[n], { loss }), [{ inputIds, labels: wanted[loss] }])
        t.deepEqual(encodeRow(tokenizer, rows[n], { loss: 'all' }), [{ inputIds, labels: [-100, ...inputIds.slice(1)] }])
      }
    })
  }
}

const chatml = labels('chat', 'chatml.json') as Record<string, Row3[]>

test('a message\'s own loss beats the strategy, and its weight is that of its tokens', async t => {
  interface Case { row: number; input_ids: number[]; assistant: Labelled; last: Labelled; all: Labelled }
  interface Labelled { labels: number[]; weights?: number[] }
  const rows = await loadDataset<ChatRow>(join(fixtures, 'datasets/swift-loss/data.jsonl')).toArray()
  const dialogues = rowsOf('openai-messages')
  const real = await tokenizerOf('chatml')
  const spoken = ({ messages }: ChatRow) => JSON.stringify(messages.map(({ role, content }) => [role, content]))
  for (const { row, input_ids: inputIds, ...expected } of (labels('message-loss.json') as { cases: Case[] }).cases) {
    // The same conversations stand, without losses, in another dataset.
    const turns = turnsOf(chatml['openai-messages'][dialogues.findIndex(one => spoken(one) === spoken(rows[row]))].turns)
    for (const loss of ['assistant', 'last', 'all'] as const) {
      const { labels: wanted, weights } = expected[loss]
      for (const tokenizer of [knowing(inputIds, turns), real]) {
        t.deepEqual(encodeRow(tokenizer, rows[row], { loss }), [{ inputIds, labels: wanted, ...(weights ? { lossScale: weights } : {}) }])
      }
    }
  }
})

test('rows that are too long', async t => {
  interface Case { row: number; max_length: number; raise: null; left: Cut[]; right: Cut[]; split: Cut[] }
  interface Cut { input_ids: number[]; labels: number[] }
  const rows = rowsOf('openai-messages')
  const { cases } = labels('truncation.json') as { cases: Case[] }
  const real = await tokenizerOf('chatml')
  for (const { row, max_length: maxLength, ...expected } of cases) {
    const { input_ids: ids, turns } = chatml['openai-messages'][row]
    for (const tokenizer of [knowing(ids, turnsOf(turns)), real]) {
      t.deepEqual(encodeRow(tokenizer, rows[row], { maxLength }), [])
      for (const truncation of ['left', 'right', 'split'] as const) {
        t.deepEqual(encodeRow(tokenizer, rows[row], { maxLength, truncation }), expected[truncation].map(({ input_ids, labels }) => ({ inputIds: input_ids, labels })))
      }
    }
  }
  t.is(cases.length, 14)
})

test('texts, and prompts with completions, without a template', async t => {
  interface Plain { tokenizer: string; rows: { kind: 'text' | 'prompt-completion'; text: string; prompt: string; completion: string; input_ids: number[]; labels: number[] }[] }
  for (const { tokenizer: name, rows } of labels('plain.json') as Plain[]) {
    const tokenizer = await tokenizerOf(name)
    for (const { kind, text, prompt, completion, input_ids: inputIds, labels: wanted } of rows) {
      t.deepEqual(encodeRow(tokenizer, kind === 'text' ? { text } : { prompt, completion }), [{ inputIds, labels: wanted }])
      if (kind === 'text') t.deepEqual(encodeRow(tokenizer, { messages: [{ role: 'assistant', content: text }] }), [{ inputIds, labels: wanted }], 'ms-swift\'s form of a text')
    }
    const [{ text, input_ids: ids }] = rows
    t.deepEqual(encodeRow(tokenizer, { text }, { addEos: false })[0].inputIds, ids.slice(0, -1))
    t.deepEqual(encodeRow(tokenizer, { text: `${text}</s>` })[0].inputIds, ids)
  }
})

test('pairs: the prompt is what all have in common', async t => {
  interface Ids { prompt_ids: number[]; chosen_ids: number[]; rejected_ids: number[] }
  const { chat, text } = labels('preference.json') as { chat: { dataset: string; template: string; rows: Ids[] }; text: { tokenizer: string; rows: Ids[] }[] }
  const same = async (name: string, pairs: PairRow[], rows: Ids[]) => {
    const tokenizer = await tokenizerOf(name)
    t.is(pairs.length, rows.length)
    for (const [n, { prompt_ids: promptIds, chosen_ids: chosenIds, rejected_ids: rejectedIds }] of rows.entries()) t.deepEqual(encodeRow(tokenizer, pairs[n]), [{ promptIds, chosenIds, rejectedIds }])
  }
  await same(chat.template, await loadDataset<PairRow>(join(fixtures, 'datasets', chat.dataset, 'data.jsonl')).toArray(), chat.rows)
  for (const { tokenizer, rows } of text) await same(tokenizer, await loadDataset<PairRow>(join(fixtures, 'datasets/preference-trl-explicit-text/data.jsonl')).toArray(), rows)
})

test('pairs and labelled answers that are too long', async t => {
  const tokenizer = await tokenizerOf('zephyr')
  const pair: PairRow = { prompt: 'What is the capital of France?', chosen: ' Paris.', rejected: ' It is Lyon, is it not?', margin: 2 }
  const [whole] = encodeRow(tokenizer, pair)
  t.is(whole.margin, 2)
  const longest = whole.promptIds.length + whole.rejectedIds.length
  const cut = (options: EncodeRowOptions) => encodeRow(tokenizer, pair, { maxLength: longest - 3, ...options })
  t.deepEqual(encodeRow(tokenizer, pair, { maxLength: longest }), [whole])
  t.deepEqual(cut({}), [])
  t.deepEqual(cut({ truncation: 'left' }), [{ ...whole, promptIds: whole.promptIds.slice(3) }])
  t.deepEqual(cut({ truncation: 'right' }), [{ ...whole, rejectedIds: whole.rejectedIds.slice(0, -3) }])
  t.deepEqual(cut({ truncation: 'right', maxLength: 3 }), [])
  await failsWith(t, 'ERR_INVALID_CONFIG', () => cut({ truncation: 'split' }))
  const row: UnpairedRow = { messages: [{ role: 'user', content: 'Longest river?' }, { role: 'assistant', content: 'The Volga.' }], label: false }
  const template = await tokenizerOf('chatml')
  const [{ promptIds, completionIds, label }] = encodeRow(template, row)
  t.is(label, false)
  t.deepEqual([...promptIds, ...completionIds], template.encode(template.applyChatTemplate(row.messages as { role: string; content: string }[]), { addSpecialTokens: false }))
  t.is(template.decode(completionIds), 'The Volga.\n')
})

test('classes and token ids', async t => {
  const tokenizer = await tokenizerOf('llama2')
  const row: ClassRow = { text: 'The capital of France is Paris.', label: 2 }
  const [{ inputIds, label }] = encodeRow(tokenizer, row)
  t.deepEqual([inputIds, label], [tokenizer.encode(row.text as string), 2])
  t.is(encodeRow(tokenizer, row, { maxLength: 4, truncation: 'right' })[0].inputIds.length, 4)
  t.deepEqual(encodeRow(tokenizer, { input_ids: [1, 2, 3] }), [{ inputIds: [1, 2, 3], labels: [1, 2, 3] }])
  t.deepEqual(encodeRow(tokenizer, { input_ids: [0, 1, 2], labels: [-100, -100, 2], attention_mask: [0, 1, 1] }), [{ inputIds: [1, 2], labels: [-100, 2] }])
})

test('what the template gets: tools as they stood, variables of row and options, and nothing of the loss', t => {
  const calls: [readonly object[], object?][] = []
  const tokenizer = knowing([1, 2], [{ message: 1, start: 1, end: 2 }], (...args) => calls.push(args))
  const messages: Message[] = [{ role: 'user', content: 'q' }, { role: 'assistant', content: 'a', loss: true, loss_scale: 0.5 }]
  const row: ChatRow = { messages, tools: '[{"default":21.0}]', chat_template_kwargs: { enable_thinking: false } }
  t.deepEqual(encodeRow(tokenizer, row, { templateKwargs: { enable_thinking: true, date_string: 'x' }, chatTemplate: 'tool_use' }), [{ inputIds: [1, 2], labels: [-100, 2], lossScale: [0, 0.5] }])
  t.deepEqual(calls, [[[messages[0], { role: 'assistant', content: 'a' }], { templateKwargs: { enable_thinking: false, date_string: 'x' }, tools: [{ default: 21 }], chatTemplate: 'tool_use' }]])
  t.is(jsonText((calls[0][1] as { tools: unknown }).tools), row.tools as string)
})

test('what cannot be encoded is said', async t => {
  const tokenizer = await tokenizerOf('zephyr')
  const { eosTokenId: _, ...endless } = knowing([], [])
  const odd: [RowTokenizer, Row, RegExp][] = [
    [tokenizer, {} as Row, /found fields \(none\)/],
    [tokenizer, { messages: [] } as unknown as Row, /found fields messages/],
    [tokenizer, { prompt: 'x', chosen: [], rejected: 'y' } as unknown as Row, /must be texts or messages/],
    [endless, { text: 'x' }, /no end token/],
    [{ encode: () => [], decode: () => '' }, { messages: [{ role: 'user', content: 'q' }] }, /need its encodeChat/],
  ]
  for (const [of, row, message] of odd) t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => encodeRow(of, row))).message, message)
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => encodeRow(tokenizer, { text: 'x' }, { max_length: 5 } as object))).message, /did you mean maxLength/)
  const gapped: RowTokenizer = { ...knowing([1, 2], []), encodeChat: () => ({ inputIds: [1, 2], turns: [], skipped: [1] }) }
  await failsWith(t, 'ERR_INVALID_CONFIG', () => encodeRow(gapped, { messages: [{ role: 'user', content: 'q' }, { role: 'assistant', content: 'a' }] }, { strict: true }))
})

/** A tokenizer of characters, with what it was asked. */
function counting(): RowTokenizer & { texts: string[] } {
  const texts: string[] = []
  return {
    texts, fingerprint: 'characters', eosTokenId: 0,
    encode(text) {
      texts.push(text)
      if (text.startsWith('bad')) return JSON.parse('{') as number[]
      return Array.from(text, c => c.charCodeAt(0))
    },
    decode: () => '\0',
  }
}
const texts = (...all: string[]) => loadDataset<TextRow>(all.map(text => ({ text })), { format: 'text' })

test('rows of which nothing can be learned are dropped and counted', async t => {
  const data = encodeDataset(counting(), texts('ab', '', 'too long', 'c'), { maxLength: 5 })
  t.deepEqual(await data.toArray(), [[97, 98, 0], [99, 0]].map(inputIds => ({ inputIds, labels: [...inputIds] })))
  t.is(data.skipped, 2)
  t.deepEqual(await data.toArray(), [[97, 98, 0], [99, 0]].map(inputIds => ({ inputIds, labels: [...inputIds] })))
  t.is(data.skipped, 2)
  const [batch] = await batches(data, { padTokenId: 7, batchSize: 2 }).toArray()
  t.deepEqual(batch.inputIds, [[97, 98, 0], [99, 0, 7]])
  const last = knowing([1, 2, 3], [{ message: 0, start: 0, end: 3 }])
  const masked = loadDataset<ChatRow>([{ messages: [{ role: 'assistant', content: 'a' }, { role: 'user', content: 'q' }] }], { strict: true })
  t.is((await encodeDataset(last, masked).toArray()).length, 1)
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => encodeDataset(last, masked, { loss: 'last' }).toArray())).message, /none of 1 rows gave anything: no label counts/)
})

test('a row that the template refuses is dropped, and one after the other is an error', async t => {
  const refusing: RowTokenizer = {
    ...counting(),
    encodeChat(messages) {
      if ((messages as Message[])[0].role === 'assistant') encodeRow(counting(), {} as Row)
      return { inputIds: [1, 2], turns: [{ message: 1, start: 0, end: 2 }], skipped: [] }
    },
  }
  const good: ChatRow = { messages: [{ role: 'user', content: 'q' }, { role: 'assistant', content: 'a' }] }
  const bad: ChatRow = { messages: [{ role: 'assistant', content: 'a' }, { role: 'user', content: 'q' }] }
  const data = encodeDataset(refusing, loadDataset<ChatRow>([good, bad, good]))
  t.is((await data.toArray()).length, 2)
  t.is(data.skipped, 1)
  await failsWith(t, 'ERR_INVALID_CONFIG', () => encodeDataset(refusing, loadDataset<ChatRow>([good, bad, good]), { strict: true }).toArray())
  let asked = 0
  const endless = { *[Symbol.iterator]() { for (;; asked++) yield bad } }
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => encodeDataset(refusing, loadDataset<ChatRow>(endless)).toArray())).message, /none of the first 32 rows gave anything: it cannot be encoded/)
  t.true(asked < 400)
})

test('a cache gives what was encoded, by the content of rows, tokenizer and options', async t => {
  const cache = temp()
  const rows = Array.from({ length: 600 }, (_, i) => `row ${i}`)
  const run = async (options: object = {}, of: string[] = rows, fingerprint = 'characters') => {
    const tokenizer = { ...counting(), fingerprint }
    const data = encodeDataset(tokenizer, texts(...of), { cache, maxLength: 7, ...options })
    const out = await data.toArray()
    return { out, skipped: data.skipped, asked: tokenizer.texts.length }
  }
  const first = await run()
  t.deepEqual([first.asked, first.skipped, first.out.length], [600, 500, 100])
  t.deepEqual(await run(), { ...first, asked: 0 })
  t.is((await run({}, rows.with(0, 'other'))).asked, 256, 'one file of rows')
  t.is((await run({ maxLength: 8 })).asked, 600)
  t.is((await run({}, rows, 'other')).asked, 600)
  // A file that was cut, or changed, is made anew.
  const files = readdirSync(cache, { recursive: true, withFileTypes: true }).filter(f => f.isFile()).map(f => join(f.parentPath, f.name))
  t.true(files.every(file => file.endsWith('.json')))
  for (const [i, file] of files.entries()) {
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, i % 2 ? text.slice(0, -20) : text.replace(/\d(?=[^\d]*$)/, digit => String((Number(digit) + 1) % 10)))
  }
  t.deepEqual(await run(), first)
  t.deepEqual(await run(), { ...first, asked: 0 })
  const { fingerprint: _, ...nameless } = counting()
  await failsWith(t, 'ERR_INVALID_CONFIG', () => encodeDataset(nameless, texts('a'), { cache }))
  writeFileSync(join(cache, 'file'), '')
  await failsWith(t, 'ERR_IO', () => run({ cache: join(cache, 'file') }))
})

test('a tokenizer that encodes many rows at once gives what it gives one by one', async t => {
  const one: RowTokenizer = {
    ...counting(),
    encodeChat(messages, options) {
      const text = jsonText([messages, options])
      if (text.includes('refused')) encodeRow(counting(), {} as Row)
      return { inputIds: Array.from(text, c => c.charCodeAt(0)), turns: [{ message: 1, start: 3, end: 9 }], skipped: [] }
    },
  }
  let [calls, asked] = [0, 0]
  const many: RowTokenizer = {
    ...one,
    encodeChat: (...args) => { asked++; return one.encodeChat!(...args) },
    encode: (...args) => { asked++; return one.encode(...args) },
    async encodeChats(rows, options) {
      calls++
      return rows.map(row => {
        const { messages, tools, chat_template_kwargs: own } = parseJson(row) as ChatRow
        const { templateKwargs, ...rest } = options as { templateKwargs?: object }
        return one.encodeChat!(messages, { ...(templateKwargs || own ? { templateKwargs: { ...templateKwargs, ...own } } : {}), ...rest, ...(tools ? { tools } : {}) })
      })
    },
    async encodeMany(all) {
      calls++
      return all.map(text => one.encode(text))
    },
  }
  const chat = (content: string, more: object = {}) => ({ messages: [{ role: 'user', content }, { role: 'assistant', content: 'a', loss: true, loss_scale: 0.5 }], ...more })
  const rows = [
    ...Array.from({ length: 300 }, (_, i) => chat(`q ${i}`)), chat('t', { tools: '[{"default": 21.0}]' }), chat('k', { chat_template_kwargs: { a: 1 } }), { text: 'x' }, { prompt: 'p', completion: 'c' },
    { messages: [{ role: 'assistant', content: 'only' }] }, { input_ids: [1, 2] }, { prompt: 'p', chosen: 'c', rejected: 'r' }, { text: 'y', label: 1 },
  ] as Row[]
  const run = (tokenizer: RowTokenizer, of: Row[], options: EncodeRowOptions = {}) => encodeDataset(tokenizer, loadDataset(of, { format: 'raw' }), options).toArray()
  for (const options of [{}, { templateKwargs: { b: 2 }, chatTemplate: 'x', addEos: false }]) {
    ;[calls, asked] = [0, 0]
    t.deepEqual(await run(many, rows, options), await run(one, rows, options))
    t.deepEqual([calls, asked], [3, 2], 'chats twice, texts once; the rejected answer and the text with a class one by one')
  }
  const refused = rows.toSpliced(5, 0, chat('refused') as Row)
  t.deepEqual(await run(many, refused), await run(one, refused))
})

test('the event loop runs while rows are encoded', async t => {
  const tokenizer: RowTokenizer = {
    ...counting(),
    encode() {
      for (const end = performance.now() + 1; performance.now() < end;);
      return [1, 2]
    },
  }
  let ticks = 0
  const timer = setInterval(() => { ticks++ }, 5)
  await encodeDataset(tokenizer, texts(...Array.from({ length: 200 }, () => 'x'))).toArray()
  clearInterval(timer)
  t.true(ticks >= 5, `${ticks}`)
})
