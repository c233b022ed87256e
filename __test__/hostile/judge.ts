/** What is wrong with what came of a case. */
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Expectation, Outcome } from './case.js'

/** What a case's process tells. */
export interface Report {
  outcome: Outcome
  /** The error's code. */
  code?: string
  message: string
  warnings: string[]
  /** Whether a valid load works afterwards. */
  alive: boolean
  /** Whether `Object.prototype` has changed. */
  polluted: boolean
  /** Whether the base gives another output than before. */
  baseChanged?: boolean
  modules?: string[]
  /** Seconds of all processors. */
  cpu: number
  /** The most that was resident, in MiB. */
  memory: number
}

const MOST_TEXT = 8192

/** The codes that stand for each kind of error. */
const CODES: Record<string, string[]> = {
  corrupt_file: ['ERR_CHECKPOINT_CORRUPT', 'ERR_UNSAFE_FILE'],
  unsafe_path: ['ERR_UNSAFE_FILE', 'ERR_INVALID_CONFIG'],
  unsafe_pickle: ['ERR_UNSAFE_FILE', 'ERR_CHECKPOINT_CORRUPT'],
  bad_config: ['ERR_INVALID_CONFIG', 'ERR_CHECKPOINT_CORRUPT', 'ERR_CHECKPOINT_MISMATCH'],
  bad_index: ['ERR_CHECKPOINT_CORRUPT', 'ERR_UNSAFE_FILE'],
  bad_name: ['ERR_INVALID_CONFIG', 'ERR_INVALID_ARGUMENT'],
  bad_tokenizer: ['ERR_CHECKPOINT_CORRUPT'],
  bad_dataset: ['ERR_DATASET', 'ERR_INVALID_CONFIG'],
  dtype: ['ERR_CHECKPOINT_MISMATCH', 'ERR_CHECKPOINT_CORRUPT'],
  io: ['ERR_IO', 'ERR_UNSAFE_FILE', 'ERR_HUB', 'ERR_CHECKPOINT_CORRUPT'],
  mismatch: ['ERR_CHECKPOINT_MISMATCH'],
  missing_file: ['ERR_IO', 'ERR_CHECKPOINT_CORRUPT', 'ERR_HUB', 'ERR_NOT_CONVERTIBLE'],
  missing_tensor: ['ERR_CHECKPOINT_MISMATCH', 'ERR_CHECKPOINT_CORRUPT'],
  no_target: ['ERR_TARGET_NOT_FOUND', 'ERR_INVALID_CONFIG'],
  not_convertible: ['ERR_NOT_CONVERTIBLE'],
  shape_mismatch: ['ERR_CHECKPOINT_MISMATCH', 'ERR_CHECKPOINT_CORRUPT'],
  too_large: ['ERR_INVALID_CONFIG', 'ERR_CHECKPOINT_MISMATCH'],
  unsupported: ['ERR_UNSUPPORTED_TUNER', 'ERR_UNSUPPORTED_MODEL', 'ERR_INVALID_CONFIG', 'ERR_UNSAFE_FILE', 'ERR_NOT_CONVERTIBLE'],
}

/** `folder` is where the case ran. */
export function judge(expected: Expectation, report: Report, folder: string): string[] {
  const text = [report.message, ...report.warnings].join('\n')
  const out: string[] = []
  if (expected.outcome !== 'any' && report.outcome !== expected.outcome) out.push(`wanted ${expected.outcome}, got ${report.outcome}: ${text.slice(0, 300)}`)
  else if (expected.outcome !== 'any') {
    for (const part of expected.mention) if (!text.toLowerCase().includes(part.toLowerCase())) out.push(`the message lacks ${JSON.stringify(part)}: ${text.slice(0, 300)}`)
  }
  if (report.outcome === 'error') out.push(...wrongCode(expected, report))
  if (text.length > MOST_TEXT) out.push(`a message of ${text.length} characters`)
  for (const part of expected.mustNotContain ?? []) if (text.includes(part)) out.push(`the message holds ${JSON.stringify(part)}`)
  if (!report.alive) out.push('a valid load failed afterwards')
  if (report.polluted) out.push('Object.prototype has changed')
  if (expected.mustLeaveBase && report.baseChanged) out.push('a failed call has changed the base')
  if (expected.modules && report.modules && expected.modules.toSorted().join() !== report.modules.toSorted().join()) out.push(`adapted ${report.modules.join(' ')}`)
  return [...out, ...disk(expected, folder)]
}

function wrongCode({ kind, outcome }: Expectation, { code, message }: Report): string[] {
  if (!code?.startsWith('ERR_')) return [`an error without a code: ${message.slice(0, 300)}`]
  const may = outcome === 'error' && kind ? CODES[kind] : undefined
  return may && !may.includes(code) ? [`${code}, wanted ${may.join(' or ')}: ${message.slice(0, 300)}`] : []
}

/** What must not be there, and what must have stayed. */
function disk({ mustNotExist = [], mustKeepBytes = {}, mustKeep = {}, args }: Expectation, folder: string): string[] {
  const out = mustNotExist.filter(path => lstatSync(join(folder, path), { throwIfNoEntry: false })).map(path => `${path} exists`)
  for (const [path, kept] of Object.entries(mustKeepBytes)) if (readFileSync(join(folder, path), 'utf8') !== kept) out.push(`${path} has changed`)
  const saved = join(folder, String(args.save_to))
  const configs = Object.keys(mustKeep).length && existsSync(saved) ? readdirSync(saved, { recursive: true, encoding: 'utf8' }).filter(path => path.endsWith('adapter_config.json')) : []
  for (const [key, value] of Object.entries(mustKeep)) {
    const found = configs.some(path => JSON.stringify(JSON.parse(readFileSync(join(saved, path), 'utf8'))[key]) === JSON.stringify(value))
    if (!found) out.push(`${key} was not written back`)
  }
  return out
}
