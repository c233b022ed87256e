/**
 * `npm run bench:data [-- --rows 100000]`: chats from a JSON Lines file to token ids and labels: rows a second, the most memory, and how late a timer
 * fires meanwhile; then Python's `datasets` with transformers' fast tokenizer and template on the same file (`PYTHON`), one process each.
 */
import { spawnSync } from 'node:child_process'
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { AutoTokenizer, encodeDataset, loadDataset } from '../index.js'

const demo = resolve(__dirname, '../../examples/demo/base-model')
const WORDS = 'turn on the light in kitchen please could you make it warm to degrees play some music and close blinds attic garden office'.split(' ')

/** Chats of two turns, the same each time. */
async function write(file: string, rows: number): Promise<void> {
  const out = createWriteStream(file)
  let state = 7
  const next = (n: number) => (state = (state * 48271) % 2147483647) % n
  const said = (n: number) => Array.from({ length: n }, () => WORDS[next(WORDS.length)]).join(' ')
  for (let i = 0; i < rows; i++) {
    const messages = [['user', said(8 + next(24))], ['assistant', said(4 + next(40))], ['user', said(6)], ['assistant', said(12)]].map(([role, content]) => ({ role, content }))
    if (!out.write(`${JSON.stringify({ messages })}\n`)) await new Promise<void>(done => { out.once('drain', () => done()) })
  }
  await new Promise<void>(done => { out.end(() => done()) })
}

async function main(): Promise<void> {
  const at = process.argv.indexOf('--rows')
  const rows = at < 0 ? 100_000 : Number(process.argv[at + 1])
  const dir = mkdtempSync(join(tmpdir(), 'swift-tuners-data-'))
  const file = join(dir, 'chats.jsonl')
  await write(file, rows)
  const tokenizer = await AutoTokenizer.fromPretrained(demo)
  const lag = monitorEventLoopDelay({ resolution: 1 })
  let [most, tokens, count] = [0, 0, 0]
  const watch = setInterval(() => { most = Math.max(most, process.memoryUsage.rss()) }, 20)
  lag.enable()
  const started = performance.now()
  for await (const { inputIds } of encodeDataset(tokenizer, loadDataset(file))) {
    tokens += inputIds.length
    count += 1
    if (count === Math.floor(rows / 10)) console.log(`after a tenth: ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`)
  }
  const seconds = (performance.now() - started) / 1000
  lag.disable()
  clearInterval(watch)
  const ms = (q: number) => (lag.percentile(q) / 1e6).toFixed(1)
  console.log(`here: ${count} rows, ${tokens} tokens in ${seconds.toFixed(1)} s: ${(count / seconds).toFixed(0)} rows/s; at most ${(most / 2 ** 20).toFixed(0)} MiB; `
    + `event loop 99 % ${ms(99)} ms, at most ${ms(100)} ms`)
  if (process.env.PYTHON) {
    const { stdout, stderr, status } = spawnSync(process.env.PYTHON, [resolve(__dirname, '../../bench/data_side.py'), file, demo], { encoding: 'utf8', env: { ...process.env, HF_HUB_OFFLINE: '1', HF_DATASETS_CACHE: join(dir, 'cache') } })
    console.log(status === 0 ? stdout.trim() : stderr)
  }
  rmSync(dir, { recursive: true, force: true })
}

void main()
