/** How adapters get into a model, whoever asks: SWIFT's calls and PEFT's give the same warnings. */
import { threadId } from 'node:worker_threads'
import { withSignal } from './abort.js'
import { native, warn } from './errors.js'
import { type HubOptions, resolveModel } from './hub.js'
import type { NativeFromPretrainedOptions, NativeLoadReport, NativeModel } from './native/binding.js'
import { printable } from './text.js'

/** @internal Loads adapters of a directory or hub id, and warns of tensors that are missing, unexpected or odd. */
export async function loadAdapters(call: string, model: NativeModel, modelId: string, settings: NativeFromPretrainedOptions, options: HubOptions): Promise<void> {
  const directory = await resolveModel(call, modelId, options)
  const before = native(() => model.loadReports()).length
  await withSignal(options.signal, flag => model.fromPretrained(directory, settings, threadId, flag))
  warnOfLoads(native(() => model.loadReports()).slice(before))
}

/** @internal */
export function warnOfLoads(reports: NativeLoadReport[]): void {
  for (const report of reports) {
    for (const [what, names] of [['missing', report.missing], ['unexpected', report.unexpected]] as const) {
      if (names.length) warn(`${report.file}: ${what} tensors of adapter ${report.adapter}: ${some(names)}`)
    }
    for (const text of report.warnings.slice(0, 5)) warn(`${report.file}: ${text}`)
  }
}

/** @internal */
export function warnOfSurplus(directory: string, surplus: string[]): void {
  if (surplus.length) warn(`${directory}: tensors that the architecture has no place for: ${some(surplus.map(printable))}`)
}

/** The first names of a list. */
function some(names: string[]): string {
  return names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '')
}
