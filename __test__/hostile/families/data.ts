/** JSONL rows: what is wrong is said with the file and the line. */
import { gzipSync } from 'node:zlib'
import type { Case, Expected } from '../case.js'
import { type Content, folder, jsonText, pipe, text } from '../contents.js'

const FILE = 'train.jsonl'

export function* data(): Generator<Case> {
  function one(name: string, content: Content, why: string, { outcome = 'error', kind = outcome === 'error' ? 'bad_dataset' : '', mention = [], ...more }: Expected = {}): Case {
    return { name: `data-${name}`, what: 'load_dataset', args: { dataset: FILE }, outcome, kind, mention: outcome === 'error' ? [FILE, ...mention] : mention, why, files: { [FILE]: content }, ...more }
  }
  const ok: Expected = { outcome: 'ok' }
  const any: Expected = { outcome: 'any' }
  const line = jsonText({ messages: [{ role: 'user', content: 'hi' }, { role: 'assistant', content: 'hello' }] })
  /** The bad one is the third of four. */
  const third = (bad: Buffer | string) => Buffer.concat([text(`${line}\n${line}\n`), Buffer.from(bad), text(`\n${line}\n`)])
  const latin = (value: string) => Buffer.from(value, 'latin1')

  yield one('control', text(`${line}\n${line}\n`), 'two good lines', ok)
  yield one('no-newline', text(line), 'no line break at the end', ok)
  yield one('crlf', text(`${line}\r\n${line}\r\n`), 'line breaks of Windows', ok)
  yield one('bom', text(`\ufeff${line}\n`), 'a byte order mark', ok)
  yield one('blank-lines', text(`\n${line}\n\n${line}\n\n`), 'empty lines are passed over', ok)
  yield one('empty', text(''), 'no rows')
  yield one('only-blank', text('\n\n\n'), 'no rows')
  const message = (fields: object) => jsonText({ messages: [fields] })
  const lines: [string, Buffer | string, string][] = [
    ['bad-json', '{"messages": [', 'no JSON'], ['bad-utf8', latin('{"messages":[{"role":"user","content":"\xff"}]}'), 'no UTF-8'],
    ['overlong', latin('{"messages":[{"role":"user","content":"\xc0\xaf"}]}'), 'UTF-8 that is longer than it may be'], ['number', '42', 'a number'], ['null', 'null', 'null'], ['array', '[]', 'an array'],
    ['no-messages', jsonText({ text: 1 }), 'no known field'], ['messages-string', jsonText({ messages: 'hi' }), 'no list'], ['messages-empty', jsonText({ messages: [] }), 'no turn'],
    ['role-unknown', message({ role: 'root', content: 'x' }), 'an unknown role'], ['role-missing', message({ content: 'x' }), 'no role'], ['content-null', message({ role: 'user', content: null }), 'no content'],
    ['content-number', message({ role: 'user', content: 5 }), 'a number'], ['deep', `{"messages":${'['.repeat(100_000)}`, '100,000 brackets'], ['nan', '{"messages": NaN}', 'NaN is no JSON'],
    ['nul', Buffer.alloc(4), 'zeros'], ['cut', line.slice(0, -5), 'breaks off'],
  ]
  for (const [name, bytes, why] of lines) yield one(`line-${name}`, third(bytes), why, { mention: ['3'] })
  yield one('last-line-cut', text(`${line}\n${line.slice(0, 20)}`), 'the file was cut off', { mention: ['2'] })
  yield one('utf16', Buffer.from(`\ufeff${line}\n`, 'utf16le'), 'UTF-16')
  yield one('gzip', gzipSync(text(line), { level: 9 }), 'packed, and not called so')
  yield one('json-array', text(`[${line},${line}]`), 'a JSON array', any)
  yield one('cr-only', text(`${line}\r${line}\r`), 'line breaks of old', any)
  yield one('long-line', text(message({ role: 'user', content: 'x'.repeat(2 ** 24) })), 'a line of 16 MB', any)
  yield one('many-lines', text(`${line}\n`.repeat(100_000)), '100,000 rows, not all in memory', ok)
  yield one('surrogate', third('{"messages": [{"role": "user", "content": "\\ud800"}]}'), 'half a pair of surrogates', any)
  yield one('proto', third(`{"__proto__": {"polluted": 1}, ${line.slice(1)}`), 'a key that is special in JavaScript', { ...any, mustNotPollute: true })
  yield one('image-path', third(`{"images": ["../../../../etc/passwd"], ${line.slice(1)}`), 'a path in a row is not opened', any)
  yield one('directory', folder, 'a folder', { kind: 'io' })
  yield one('fifo', pipe, 'a pipe must not hang', { kind: 'io' })
}
