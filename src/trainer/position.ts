import { SwiftTunersError } from '../errors.js'

/** The best evaluation so far. */
export interface Best {
  step: number
  /** The name of what was measured, and its value. */
  metric: string
  value: number
}

/** How far a run is: what a checkpoint holds beside weights and states. */
export interface Position {
  step: number
  epoch: number
  /** Batches of this epoch that are done. */
  batch: number
  /** Random numbers that training passes have drawn. */
  drawn: number
  seed: number
  /** Names the batches of this epoch that are done. */
  data: string
  /** Names the first batch of the first epoch, and whether a later epoch began with another one. */
  first: string
  varies: boolean
  best?: Best
  /** Evaluations in turn that were no better than the best one. */
  stale: number
}

export const beginning = (seed: number): Position => ({ step: 0, epoch: 0, batch: 0, drawn: 0, seed, data: '', first: '', varies: false, stale: 0 })

const COUNTS = ['step', 'epoch', 'batch', 'drawn'] as const

/** The position in the text of a checkpoint's `trainer.json`; what earlier versions did not write is as in `otherwise`. */
export function parsePosition(file: string, text: string, otherwise: Position): Position {
  const corrupt = (why: string, cause?: unknown) => new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${file}: ${why}`, { cause, details: { path: file } })
  let json: Partial<Position> | null
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw corrupt('no JSON', error)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw corrupt('expected an object')
  for (const name of COUNTS) {
    if (!Number.isSafeInteger(json[name]) || json[name]! < 0) throw corrupt(`${name}: expected a count, found ${String(json[name])}`)
  }
  const { best } = json
  if (best !== undefined && !(Number.isSafeInteger(best?.step) && typeof best?.metric === 'string' && Number.isFinite(best?.value))) throw corrupt('best: expected a step, a metric and its value')
  return {
    ...otherwise,
    ...(Object.fromEntries(COUNTS.map(name => [name, json[name]])) as Pick<Position, typeof COUNTS[number]>),
    seed: Number.isSafeInteger(json.seed) ? json.seed! : otherwise.seed,
    data: typeof json.data === 'string' ? json.data : '',
    first: typeof json.first === 'string' ? json.first : '',
    varies: json.varies === true,
    stale: Number.isSafeInteger(json.stale) ? json.stale! : 0,
    ...(best ? { best } : {}),
  }
}
