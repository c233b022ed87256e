/** `inspect`: what a folder holds. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { invalid } from '../options.js'
import type { ValuesOf } from './argument.js'
import type { ExitStatus } from './commands.js'
import { adapterReport, adapterText } from './inspect-adapter.js'
import { modelReport, modelText } from './inspect-model.js'
import { runReport, runText } from './inspect-run.js'
import { subfolders } from './load.js'
import type { INSPECT } from './options/commands.js'

export type InspectArgs = ValuesOf<typeof INSPECT>

/** What was found, and how it reads. */
interface Report {
  value: object
  text: string
  /** Whether something is wrong with it. */
  sound: boolean
}

/** Tells of each folder; 1 where one of them is not sound. */
export async function inspect(args: InspectArgs): Promise<ExitStatus> {
  const reports: Report[] = []
  for (const folder of args.folders) reports.push(...await report(folder, args))
  process.stdout.write(args.json ? `${JSON.stringify(reports.map(one => one.value), null, 2)}\n` : `${reports.map(one => one.text).join('\n\n')}\n`)
  return reports.every(one => one.sound) ? 0 : 1
}

async function report(folder: string, args: InspectArgs): Promise<Report[]> {
  if (!statSync(folder).isDirectory()) throw invalid('folders', `inspect: ${folder}: not a folder`)
  if (readdirSync(folder).some(name => /^checkpoint-\d+$/.test(name))) {
    const value = await runReport(folder)
    return [{ value, text: runText(value), sound: true }]
  }
  const adapters = existsSync(join(folder, 'adapter_config.json')) ? [folder] : subfolders(folder)
  if (adapters.length > 0) {
    return Promise.all(adapters.map(async at => {
      const value = await adapterReport(at, args)
      return { value, text: adapterText(value), sound: value.problems.length === 0 }
    }))
  }
  if (existsSync(join(folder, 'config.json'))) {
    const value = await modelReport(folder, args)
    return [{ value, text: modelText(value), sound: true }]
  }
  throw invalid('folders', `inspect: ${folder}: neither a model (config.json), nor an adapter (adapter_config.json), nor a run (checkpoint-N)`)
}
