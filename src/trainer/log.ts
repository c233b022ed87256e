import { appendFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { TrainingStep } from './options.js'

/** One JSON object per step in a file. */
export class StepLog {
  private constructor(readonly file: string) {}

  /** A run that is resumed takes away what was logged behind its checkpoint: those steps are made again. */
  static async begin(file: string, step: number, resumed: boolean): Promise<StepLog> {
    await mkdir(dirname(file), { recursive: true })
    const text = resumed ? await readFile(file, 'utf8').catch(() => '') : ''
    const lines = text.split('\n')
    const kept = lines.filter(line => !(stepOf(line) > step))
    if (kept.length < lines.length) {
      await writeFile(`${file}.tmp`, kept.join('\n'))
      await rename(`${file}.tmp`, file)
    }
    return new StepLog(file)
  }

  async write(step: TrainingStep): Promise<void> {
    await appendFile(this.file, `${JSON.stringify(step)}\n`)
  }
}

/** The step that a line is about; NaN for any other line. */
function stepOf(line: string): number {
  try {
    return Number((JSON.parse(line) as TrainingStep | null)?.step ?? NaN)
  } catch {
    return NaN
  }
}
