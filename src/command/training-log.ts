/** The log of a run: logging.jsonl, with ms-swift's keys. */
import { mean } from '../mean.js'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { TrainingStep } from '../../index.js'
import { duration, memory, type Progress } from './progress.js'

/** One line; what else it has is numbers by name. */
export interface LogLine {
  epoch: number
  'global_step/max_steps': string
  [key: string]: number | string
}

/** TRL's names of what preference losses measure. */
const METRICS: Record<string, string> = { rewardsChosen: 'rewards/chosen', rewardsRejected: 'rewards/rejected', rewardsMargin: 'rewards/margins', rewardsAccuracy: 'rewards/accuracies' }

const round = (value: number): number => Number(value.toPrecision(8))

/** The lines of a log; none where there is no file. */
export function readLog(file: string): LogLine[] {
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8').split('\n').filter(Boolean).map(line => JSON.parse(line) as LogLine)
}

/** The step that a line is about. */
export const stepOf = (line: LogLine): number => Number(String(line['global_step/max_steps'] ?? '').split('/')[0])

/** Writes a line for every few steps. */
export class TrainingLog {
  #steps: TrainingStep[] = []

  /** A run that goes on takes away the lines behind its checkpoint: those steps are made again. */
  constructor(readonly file: string, readonly every: number, readonly progress: Progress, readonly total: number | undefined, readonly epochs: number | undefined, begun: number) {
    const kept = readLog(file).filter(line => stepOf(line) <= begun)
    writeFileSync(file, kept.map(line => `${JSON.stringify(line)}\n`).join(''))
  }

  take(step: TrainingStep): void {
    this.#steps.push(step)
    if (step.step % this.every === 0 || step.step === 1 || step.step === this.total) this.#write(step)
    if (step.evaluation) {
      const values = Object.entries(step.evaluation).map(([name, value]) => [`eval_${METRICS[name] ?? name}`, round(value)])
      this.#append({ ...Object.fromEntries(values), ...this.#place(step) })
    }
  }

  /** Writes what has waited, and how the run went. */
  end(summary: Record<string, number | string | undefined>): void {
    const last = this.#steps.at(-1)
    if (last) this.#write(last)
    appendFileSync(this.file, `${JSON.stringify({ train_runtime: round(this.progress.elapsed), ...summary, 'memory(GiB)': memory() })}\n`)
  }

  #write(step: TrainingStep): void {
    const steps = this.#steps.filter(one => one.step <= step.step)
    if (steps.length === 0) return
    this.#steps = []
    const names = Object.keys(step.metrics ?? {})
    this.#append({
      loss: round(mean(steps.map(one => one.loss))),
      ...Object.fromEntries(names.map(name => [METRICS[name] ?? name, round(mean(steps.map(one => one.metrics?.[name] ?? 0)))])),
      grad_norm: round(step.gradNorm),
      learning_rate: round(step.learningRate),
      'memory(GiB)': memory(),
      'train_speed(s/it)': round(this.progress.pace(step.step)),
      ...this.#place(step),
    })
  }

  #place({ step, epoch }: TrainingStep): LogLine {
    const left = this.progress.remaining(step)
    return {
      epoch: this.total !== undefined && this.epochs !== undefined ? round((step / this.total) * this.epochs) : epoch,
      'global_step/max_steps': this.total === undefined ? `${step}` : `${step}/${this.total}`,
      ...(this.total === undefined ? {} : { percentage: `${((100 * step) / this.total).toFixed(2)}%` }),
      elapsed_time: duration(this.progress.elapsed),
      ...(left === undefined ? {} : { remaining_time: duration(left) }),
    }
  }

  #append(line: object): void {
    appendFileSync(this.file, `${JSON.stringify(line)}\n`)
  }
}
