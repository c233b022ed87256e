/**
 * `npm run fuzz -- [TARGET …] [--runs N] [--sanitizer address]`: the readers of strangers' files under libFuzzer, guided by coverage, by default
 * a million runs each. Needs `rustup toolchain install nightly` and `cargo install cargo-fuzz`. What breaks a reader goes to
 * `crates/fuzz/regressions/TARGET/`, which `cargo test` runs from then on.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './setup.mjs'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { runs: { type: 'string', default: '1000000' }, sanitizer: { type: 'string', default: 'none' }, seconds: { type: 'string' } } })
const known = [...readFileSync(join(root, 'crates/fuzz/src/targets.rs'), 'utf8').matchAll(/name: "(\w+)"/g)].map(m => m[1])
for (const name of positionals) if (!known.includes(name)) throw new Error(`${name}: there are ${known.join(', ')}`)

let failed = 0, total = 0
const rows = []
for (const name of positionals.length ? positionals : known) {
  const [corpus, found] = [join(root, 'fuzz/corpus', name), join(root, 'crates/fuzz/regressions', name)]
  mkdirSync(corpus, { recursive: true })
  mkdirSync(found, { recursive: true })
  const env = { ...process.env, FUZZ_TARGET: name }
  if (readdirSync(corpus).length === 0) {
    const seeded = spawnSync('cargo', ['+nightly', 'fuzz', 'run', '--sanitizer', values.sanitizer, 'reader', '--', '-runs=0'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'], env: { ...env, FUZZ_SEEDS: corpus } })
    if (seeded.status !== 0) process.exit(1)
  }
  const limits = ['-timeout=10', '-rss_limit_mb=2048', '-max_len=16384', `-artifact_prefix=${found}/`, values.seconds ? `-max_total_time=${values.seconds}` : `-runs=${values.runs}`]
  const { status, stderr } = spawnSync('cargo', ['+nightly', 'fuzz', 'run', '--sanitizer', values.sanitizer, 'reader', corpus, '--', ...limits], { cwd: root, encoding: 'utf8', env, maxBuffer: 1 << 30 })
  const [, runs = '0', seconds = '0'] = /Done (\d+) runs in (\d+) second/.exec(stderr) ?? []
  total += Number(runs)
  if (status !== 0) {
    failed += 1
    console.error(stderr.split('\n').slice(-40).join('\n'))
  }
  const coverage = [...stderr.matchAll(/cov: (\d+)/g)].at(-1)?.[1] ?? '?'
  rows.push({ target: name, runs: Number(runs), seconds: Number(seconds), edges: coverage, ended: status === 0 ? 'well' : `status ${status}` })
  console.log(`${name}: ${runs} runs in ${seconds} s, ${coverage} edges${status === 0 ? '' : `; status ${status}`}`)
}
console.table(rows)
console.log(`${total} runs, ${failed} targets failed`)
process.exit(failed ? 1 : 0)
