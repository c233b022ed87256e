/** What `inspect` tells of a run's folder. */
import { join } from 'node:path'
import { readConfig } from './config-file.js'
import { checkpointsOf } from './run-folder.js'
import { type LogLine, readLog, stepOf } from './training-log.js'

interface RunReport {
  kind: 'run'
  folder: string
  args: Record<string, unknown>
  checkpoints: string[]
  /** The last line of a step, and of an evaluation. */
  last?: LogLine
  evaluation?: LogLine
}

export async function runReport(folder: string): Promise<RunReport> {
  const lines = readLog(join(folder, 'logging.jsonl')).filter(line => stepOf(line) > 0)
  const last = lines.findLast(line => 'loss' in line)
  const evaluation = lines.findLast(line => 'eval_loss' in line)
  return {
    kind: 'run', folder, args: await readConfig(join(folder, 'args.json')).catch(() => ({})),
    checkpoints: checkpointsOf(folder).map(step => `checkpoint-${step}`), ...(last ? { last } : {}), ...(evaluation ? { evaluation } : {}),
  }
}

export function runText({ folder, args, checkpoints, last, evaluation }: RunReport): string {
  const shown = (line: LogLine) => Object.entries(line).map(([key, value]) => `${key} ${value}`).join(', ')
  return [
    folder,
    `a run of ${String(args.tuner_type ?? 'unknown')} on ${String(args.model ?? 'unknown')}`,
    `checkpoints: ${checkpoints.join(', ') || 'none that is whole'}`,
    ...(last ? [`last step: ${shown(last)}`] : []), ...(evaluation ? [`last evaluation: ${shown(evaluation)}`] : []),
  ].join('\n')
}
