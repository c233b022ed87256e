/** The pictures of a run, from its log. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { curveSvg, type Series } from './curve.js'
import { type LogLine, readLog, stepOf } from './training-log.js'

/** A picture of each measure that a log has at least two of; ms-swift's names of files. */
export function writePictures(root: string): string[] {
  const lines = readLog(join(root, 'logging.jsonl')).filter(line => stepOf(line) > 0)
  const of = (key: string): Series => ({ name: key, points: lines.filter(line => typeof line[key] === 'number').map(line => [stepOf(line), line[key] as number]) })
  const measures = [...new Set(lines.flatMap(line => Object.keys(line).filter(key => isMeasure(key, line))))]
  const written: string[] = []
  for (const key of measures) {
    const series = of(key)
    if (series.points.length < 2) continue
    const name = key.startsWith('eval_') ? key : `train_${key}`
    // Both losses in one picture tell whether it learns by heart.
    const beside = key === 'loss' && of('eval_loss').points.length > 1 ? [of('eval_loss')] : []
    mkdirSync(join(root, 'images'), { recursive: true })
    const file = join(root, 'images', `${name.replaceAll('/', '_')}.svg`)
    writeFileSync(file, curveSvg(name, [series, ...beside]))
    written.push(file)
  }
  return written
}

const NONE = ['epoch', 'memory(GiB)', 'train_speed(s/it)']
const isMeasure = (key: string, line: LogLine): boolean => typeof line[key] === 'number' && !NONE.includes(key)
