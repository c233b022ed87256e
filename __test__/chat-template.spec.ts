import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AutoTokenizer, type ChatMessage, type EncodedChat } from '../index.js'
import { copyOf, demo, failsWith, fixtures, readJson, temp } from './support.js'

const dir = join(fixtures, 'chat-templates')
const names = readdirSync(dir, { withFileTypes: true }).filter(e => e.isDirectory()).map(e => e.name)

interface Conversation {
  messages: ChatMessage[]
  tools?: object[]
}
interface Case {
  conversation: string
  options: Record<string, unknown>
  text?: string
  input_ids?: number[]
  raises?: string
  kind?: string
  decodes_to?: string
  assistant?: { method: string; tokens: number[][]; turns_without_span?: number[] }
}

const conversations = readJson(join(dir, 'conversations.json')) as Record<string, Conversation>
/** The conversations as they stand in the file: `21.0` and the order of keys do not survive JavaScript's objects. */
const raw = Object.fromEntries(readFileSync(join(dir, 'conversations.json'), 'utf8').split(/\n (?="\w+": \{)/).slice(1).map(part => {
  const [, name, body] = /^"(\w+)": (\{.*\}),?\s*\}?\s*$/s.exec(part) as RegExpExecArray
  return [name, body.replace(/\n \}\n?\}?$/, '\n }')]
}))
/** Python's `datetime(2026, 3, 9, 8, 5, 7)`. */
const now = new Date(2026, 2, 9, 8, 5, 7)
const load = (name: string) => AutoTokenizer.fromPretrained(join(dir, name))
const chatml = join(dir, 'chatml')

/** The options of transformers in our spelling; what is left are variables of the template. */
function spelt({ add_generation_prompt, continue_final_message, ...variables }: Record<string, unknown>) {
  return {
    ...(add_generation_prompt === undefined ? {} : { addGenerationPrompt: add_generation_prompt as boolean }),
    ...(continue_final_message === undefined ? {} : { continueFinalMessage: continue_final_message as boolean }),
    ...variables, now,
  }
}

function hasTurns(t: ExecutionContext, { inputIds, turns, skipped }: EncodedChat, { input_ids, assistant, conversation }: Case, what: string) {
  t.deepEqual(inputIds, input_ids, what)
  if (!assistant) return
  t.deepEqual(turns.map(turn => [turn.start, turn.end]), assistant.tokens, what)
  t.deepEqual(skipped, assistant.turns_without_span ?? [], what)
  t.true(turns.every(turn => conversations[conversation].messages[turn.message].role === 'assistant'), what)
}

for (const name of names) {
  test(`${name}: texts, ids, turns and errors are those of transformers`, async t => {
    const tokenizer = await load(name)
    const expected = readJson(join(dir, name, 'expected.json')) as { cases: Case[]; encode: { text: string; with_special: number[]; without_special: number[] }[] }
    for (const entry of expected.encode) {
      t.deepEqual(tokenizer.encode(entry.text), entry.with_special)
      t.deepEqual(tokenizer.encode(entry.text, { addSpecialTokens: false }), entry.without_special)
    }
    t.deepEqual(await tokenizer.encodeMany(expected.encode.map(e => e.text)), expected.encode.map(e => e.with_special))
    for (const entry of expected.cases) {
      const what = `${entry.conversation} ${JSON.stringify(entry.options)}`
      const { messages, tools } = conversations[entry.conversation]
      const options = { ...spelt(entry.options), ...(tools ? { tools } : {}) }
      if (entry.raises !== undefined) {
        const error = await failsWith(t, 'ERR_INVALID_CONFIG', () => tokenizer.applyChatTemplate(messages, options))
        t.regex(error.message, /^chat_template: /, what)
        if (entry.kind === 'TemplateError') t.true(error.message.includes(entry.raises), `${what}: ${error.message}`)
        continue
      }
      // Through JavaScript's objects numbers lose their form.
      if (entry.conversation !== 'tools_floats') {
        const text = tokenizer.applyChatTemplate(messages, options)
        t.is(text, entry.text!, what)
        t.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), entry.input_ids, what)
        t.is(tokenizer.decode(entry.input_ids!, { skipSpecialTokens: false }), entry.decodes_to ?? entry.text!, what)
        if (entry.assistant) hasTurns(t, tokenizer.encodeChat(messages, { ...spelt(entry.options), ...(tools ? { tools } : {}) }), entry, what)
      }
      if (entry.assistant) hasTurns(t, (await tokenizer.encodeChats([raw[entry.conversation]], spelt(entry.options)))[0], entry, `${what}, as a row`)
    }
  })
}

test('many rows are encoded at once, in their order, with variables of their own', async t => {
  const tokenizer = await load('qwen3')
  const rows = Array.from({ length: 200 }, (_, i) => JSON.stringify({
    messages: [{ role: 'user', content: `Row ${i}` }, { role: 'assistant', content: 'Yes.', loss: true }],
    ...(i % 2 ? { chat_template_kwargs: { enable_thinking: false }, tools: null } : {}),
  }))
  const all = await tokenizer.encodeChats(rows, { enableThinking: true })
  t.is(all.length, 200)
  for (const i of [0, 1, 77, 199]) {
    t.deepEqual(all[i], tokenizer.encodeChat([{ role: 'user', content: `Row ${i}` }, { role: 'assistant', content: 'Yes.' }], { enableThinking: i % 2 === 0 }))
    t.is(all[i].turns.length, 1)
  }
  t.deepEqual(await tokenizer.encodeChats([]), [])
  const [prompted] = await tokenizer.encodeChats([JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }] })], { addGenerationPrompt: true })
  t.deepEqual(prompted, tokenizer.encodeChat([{ role: 'user', content: 'Hi' }], { addGenerationPrompt: true }))
  t.deepEqual(prompted.inputIds, tokenizer.encode(tokenizer.applyChatTemplate([{ role: 'user', content: 'Hi' }], { addGenerationPrompt: true }), { addSpecialTokens: false }))
  const error = await failsWith(t, 'ERR_INVALID_CONFIG', () => tokenizer.encodeChats([rows[0], '{"messages": []}', '{', rows[1]]))
  t.regex(error.message, /row 1: /)
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => tokenizer.encodeChats([{ messages: [] }] as never))
  const aborted = AbortSignal.abort(new Error('enough'))
  await t.throwsAsync(tokenizer.encodeChats(rows, { signal: aborted }), { message: 'enough' })
  await t.throwsAsync(tokenizer.encodeMany(['a'], { signal: aborted }), { message: 'enough' })
})

test('loss and loss_scale of a message are not for the template', async t => {
  const tokenizer = await load('chatml')
  const template = '{% for m in messages %}{{ m }}{% endfor %}'
  t.is(tokenizer.applyChatTemplate([{ role: 'user', content: null, loss: false, loss_scale: 2 }], { chatTemplate: template }), "{'role': 'user', 'content': None}")
})

test('variables of a template may stand beside the options, and a slip is told from them', async t => {
  const [qwen3, llama3] = [await load('qwen3'), await load('llama3')]
  const messages: ChatMessage[] = [{ role: 'user', content: 'Hi' }]
  const prompt = { addGenerationPrompt: true }
  const off = qwen3.applyChatTemplate(messages, { ...prompt, enableThinking: false })
  t.true(off.endsWith('<think>\n\n</think>\n\n'))
  t.is(qwen3.applyChatTemplate(messages, { ...prompt, enable_thinking: false }), off)
  t.is(qwen3.applyChatTemplate(messages, { ...prompt, templateKwargs: { enable_thinking: false } }), off)
  t.true(llama3.applyChatTemplate(messages, { date_string: '1 Apr 2000', bos_token: '[B]' }).startsWith('[B]<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 1 Apr 2000'))
  for (const [call, said] of [
    [() => llama3.applyChatTemplate(messages, { date_strin: 'x' }), /no option date_strin;/],
    [() => qwen3.applyChatTemplate(messages, { add_generation_prompt: true }), /did you mean addGenerationPrompt/],
    [() => qwen3.applyChatTemplate(messages, { addGenerationPromt: true }), /did you mean addGenerationPrompt/],
    [() => qwen3.applyChatTemplate(messages, { templateKwargs: { tools: [] } }), /tools is the option tools/],
    [() => qwen3.applyChatTemplate(messages, { templateKwargs: { messages } }), /messages is the first argument/],
    [() => qwen3.applyChatTemplate(messages, { addGenerationPrompt: true, continueFinalMessage: true }), /choose one of the two/],
    [() => qwen3.applyChatTemplate(messages, { continueFinalMessage: 'reasoning' }), /no "reasoning" to continue/],
    [() => qwen3.applyChatTemplate(messages, { now: new Date(NaN) }), /now: expected a Date/],
    [() => qwen3.applyChatTemplate(messages, { chatTemplate: 'tool_use' }), /no Jinja and no template's name/],
    [() => qwen3.applyChatTemplate(messages, { chatTemplate: '{% for x in %}' }), /chat_template: .*line 1/],
    [() => qwen3.applyChatTemplate(messages, { chatTemplate: '{{ "a" * 10**9 }}' }), /chat_template: the template makes a text of/],
  ] as const) t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', call)).message, said)
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => qwen3.applyChatTemplate(messages, { templateKwargs: { cycle } }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => qwen3.applyChatTemplate(messages, { templateKwargs: { odd: Symbol("x") } }))
  for (const bad of [[], [{}], [{ role: 1 }], [{ role: 'user', content: 3 }], [{ role: 'user', content: ['a'] }], [undefined], {}, 'x', null]) {
    await failsWith(t, 'ERR_INVALID_ARGUMENT', () => qwen3.applyChatTemplate(bad as never))
    await failsWith(t, 'ERR_INVALID_ARGUMENT', () => qwen3.encodeChat(bad as never))
  }
})

test('a message is continued in a field or in its last text', async t => {
  const tokenizer = await load('gemma')
  const text = tokenizer.applyChatTemplate(
    [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: [{ type: 'text', text: 'Well, ' }] }], { continueFinalMessage: true })
  t.true(text.endsWith('<start_of_turn>model\nWell,'))
  const thinking = await load('qwen3')
  t.true(thinking.applyChatTemplate(
    [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: 'A', reasoning_content: 'So' }], { continueFinalMessage: 'reasoning_content' }).endsWith('<think>\nSo'))
})

test('one of several templates is chosen by its name, and with tools the one for tools', async t => {
  const several = copyOf(chatml)
  mkdirSync(join(several, 'additional_chat_templates'))
  writeFileSync(join(several, 'additional_chat_templates/tool_use.jinja'), 'T{{ tools | length }}{{ eos_token }}')
  writeFileSync(join(several, 'additional_chat_templates/broken.jinja'), '{% if %}')
  const messages: ChatMessage[] = [{ role: 'user', content: 'Hi' }]
  const tokenizer = await AutoTokenizer.fromPretrained(several)
  t.is(tokenizer.applyChatTemplate(messages, { tools: [{}] }), 'T1<|im_end|>')
  t.is(tokenizer.applyChatTemplate(messages, { tools: [{}], chatTemplate: 'default' }), (await load('chatml')).applyChatTemplate(messages, { tools: [{}] }))
  const rows = [{ messages }, { messages, tools: [{}, {}] }].map(row => JSON.stringify(row))
  const [plain, tools] = (await tokenizer.encodeChats(rows)).map(e => tokenizer.decode(e.inputIds, { skipSpecialTokens: false }))
  t.deepEqual([plain, tools], [tokenizer.applyChatTemplate(messages), 'T2<|im_end|>'])
  t.regex((await failsWith(t, 'ERR_CHECKPOINT_CORRUPT', () => tokenizer.applyChatTemplate(messages, { chatTemplate: 'broken' }))).message, /broken/)
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => tokenizer.applyChatTemplate(messages, { chatTemplate: 'tool_us' }))).message, /did you mean tool_use/)

  const listed = copyOf(chatml)
  rmSync(join(listed, 'chat_template.jinja'))
  const config = readJson(join(listed, 'tokenizer_config.json'))
  const chat_template = [{ name: 'rag', template: 'R{{ documents | map(attribute="title") | join }}' }]
  writeFileSync(join(listed, 'tokenizer_config.json'), JSON.stringify({ ...config, chat_template }))
  const named = await AutoTokenizer.fromPretrained(listed)
  t.is(named.applyChatTemplate(messages, { chatTemplate: 'rag', documents: [{ title: 'a' }, { title: 'b' }] }), 'Rab')
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => named.applyChatTemplate(messages))).message, /chatTemplate names one of rag/)
})

test('special tokens come from either file', async t => {
  const copy = copyOf(chatml)
  const config = readJson(join(copy, 'tokenizer_config.json'))
  writeFileSync(join(copy, 'tokenizer_config.json'), JSON.stringify({ ...config, eos_token: { content: '<|im_end|>' } }))
  writeFileSync(join(copy, 'special_tokens_map.json'), JSON.stringify({ bos_token: '<|im_start|>', eos_token: 'no', image_token: { content: '<img>' } }))
  const tokenizer = await AutoTokenizer.fromPretrained(copy)
  t.is(tokenizer.applyChatTemplate([{ role: 'user', content: '' }], { chatTemplate: '{{ bos_token }}{{ eos_token }}{{ image_token }}' }), '<|im_start|><|im_end|><img>')
})

test('files of a tokenizer that are no regular files, or too large, are refused at once', async t => {
  for (const file of ['tokenizer.json', 'chat_template.jinja', 'tokenizer_config.json', 'special_tokens_map.json', 'additional_chat_templates/a.jinja']) {
    const copy = join(temp(), 'copy')
    cpSync(chatml, copy, { recursive: true })
    mkdirSync(join(copy, 'additional_chat_templates'))
    rmSync(join(copy, file), { force: true })
    mkdirSync(join(copy, file))
    await failsWith(t, 'ERR_UNSAFE_FILE', () => AutoTokenizer.fromPretrained(copy))
    rmSync(join(copy, file), { recursive: true })
    if (process.platform !== 'win32') {
      execFileSync('mkfifo', [join(copy, file)])
      await failsWith(t, 'ERR_UNSAFE_FILE', () => AutoTokenizer.fromPretrained(copy))
      rmSync(join(copy, file))
    }
    if (file === 'tokenizer.json') continue
    writeFileSync(join(copy, file), Buffer.alloc(17 * 2 ** 20, 32))
    await failsWith(t, 'ERR_CHECKPOINT_CORRUPT', () => AutoTokenizer.fromPretrained(copy))
    writeFileSync(join(copy, file), Buffer.from([0xff, 0xfe]))
    await failsWith(t, 'ERR_CHECKPOINT_CORRUPT', () => AutoTokenizer.fromPretrained(copy))
  }
})

test('blocks that are not one per message belong to the message that they come with', async t => {
  const tokenizer = await load('chatml')
  const messages: ChatMessage[] = [
    { role: 'user', content: 'a' }, { role: 'assistant', content: 'b' }, { role: 'user', content: 'c' }, { role: 'assistant', content: 'd' }, { role: 'assistant', content: 'no' },
  ]
  const chatTemplate = "{% for m in messages %}{% if m.role == 'assistant' and m.content != 'no' %}{% generation %}<|im_start|>{% endgeneration %}|{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
  const { inputIds, turns, skipped } = tokenizer.encodeChat(messages, { chatTemplate })
  t.deepEqual(turns.map(turn => [turn.message, tokenizer.decode(inputIds.slice(turn.start, turn.end), { skipSpecialTokens: false })]),
    [[1, '<|im_start|>'], [1, 'b<|im_end|>'], [3, '<|im_start|>'], [3, 'd<|im_end|>']])
  t.deepEqual(skipped, [4])
  // Through a macro and a variable the places stay right.
  const held = "{% macro say(x) %}{% generation %}{{ x }}<|im_end|>{% endgeneration %}{% endmacro %}{% for m in messages %}{% set s %}é{{ m.role }}:{% if m.role == 'assistant' %}{{ say(m.content) }}{% else %}{{ m.content }}{% endif %}{% endset %}{{ ' ' ~ s }}{% endfor %}"
  const again = tokenizer.encodeChat(messages, { chatTemplate: held })
  t.deepEqual(again.turns.map(turn => tokenizer.decode(again.inputIds.slice(turn.start, turn.end), { skipSpecialTokens: false })), ['b<|im_end|>', 'd<|im_end|>', 'no<|im_end|>'])
})

test('a tokenizer without a template says so', async t => {
  const copy = copyOf(join(demo, 'base-model'))
  const { chat_template: _, ...config } = readJson(join(copy, 'tokenizer_config.json'))
  writeFileSync(join(copy, 'tokenizer_config.json'), JSON.stringify(config))
  rmSync(join(copy, 'chat_template.jinja'), { force: true })
  const tokenizer = await AutoTokenizer.fromPretrained(copy)
  t.regex((await failsWith(t, 'ERR_INVALID_CONFIG', () => tokenizer.applyChatTemplate([{ role: 'user', content: 'a' }]))).message, /has no chat_template/)
})
