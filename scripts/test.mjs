/**
 * `npm test`: Rust tests, ava, type tests. Builds what is missing first, and ends with one line that adds all of them up.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cargo } from './cargo.mjs'
import { root, setup } from './setup.mjs'

setup()
const totals = { passed: 0, failed: 0, skipped: 0 }

/** Runs a command, showing its output, and returns its exit status and what it printed. */
function capture(command, args) {
  return new Promise(done => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], shell: process.platform === 'win32' })
    let text = ''
    child.stdout.on('data', chunk => {
      text += chunk
      process.stdout.write(chunk)
    })
    child.on('error', error => {
      console.error(`${command}: ${error.message}`)
      done({ status: 1, text })
    })
    child.on('close', status => done({ status, text }))
  })
}

function count(name, { status, text }, pattern) {
  let seen = 0
  let failed = 0
  for (const [, ok, bad, skip] of text.matchAll(pattern)) {
    seen += Number(ok) + Number(bad)
    failed += Number(bad)
    totals.passed += Number(ok)
    totals.failed += Number(bad)
    totals.skipped += Number(skip ?? 0)
  }
  // A runner that broke off, or ran nothing, is a failure of its own.
  if (seen === 0 || (status !== 0 && failed === 0)) {
    console.error(`${name}: ended with status ${status} after ${seen} tests`)
    totals.failed += 1
  }
}

console.log('\n# Rust')
count('cargo test', await capture('cargo', cargo('test', '--workspace', '--quiet')), /test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/g)

console.log('\n# TypeScript')
const ava = await capture('node', ['node_modules/ava/entrypoints/cli.mjs', '--tap'])
const lines = ava.text.split('\n')
const tests = lines.filter(l => /^(not )?ok \d+/.test(l))
const skipped = tests.filter(l => /# SKIP/i.test(l))
const failed = tests.filter(l => l.startsWith('not ok') && !/# (TODO|SKIP)/i.test(l))
count('ava', { status: ava.status, text: `${tests.length - skipped.length - failed.length} ${failed.length} ${skipped.length}` }, /^(\d+) (\d+) (\d+)$/g)

console.log('\n# Types')
const types = await capture('node', ['node_modules/typescript/bin/tsc', '--noEmit'])
console.log(types.status === 0 ? 'ok' : 'failed')
totals[types.status === 0 ? 'passed' : 'failed'] += 1

if (!existsSync(join(root, 'dist')) || readdirSync(join(root, 'dist')).length === 0) totals.failed += 1
console.log(`\n${totals.passed} passed, ${totals.failed} failed${totals.skipped ? `, ${totals.skipped} skipped` : ''}`)
process.exit(totals.failed ? 1 : 0)
