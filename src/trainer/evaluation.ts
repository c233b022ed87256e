import { answeringMode } from '../answering-mode.js'
import { native, SwiftTunersError } from '../errors.js'
import { Data } from './data.js'
import type { Evaluation, TrainerOptions } from './options.js'
import { evaluateLoss, type Passes } from './passes.js'
import type { Position } from './position.js'

/** What the evaluation's data gives in an epoch, with `metrics` of the caller's if they are wanted. */
export async function evaluated(o: TrainerOptions, passes: Passes, { epoch, step }: Pick<Position, 'epoch' | 'step'>, metrics: TrainerOptions['metrics']): Promise<Evaluation> {
  if (o.evaluate == null) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'evaluate: the Trainer was given no data for it')
  const { model } = passes
  const data = Data.located('evaluate', o.evaluate, epoch, o.seed ?? 0)
  const measure = () => evaluateLoss(passes, data, step)
  // A loss of the caller's own sees the model as it answers; the model's own never trains here.
  const { loss, metrics: own } = passes.own ? await answeringMode(model, measure) : await measure()
  if (!metrics) return { loss, ...own }
  native(() => model.native.train(false))
  const more = await metrics(model)
  const odd = Object.entries(more).find(([, value]) => typeof value !== 'number')
  if (odd) throw new SwiftTunersError('ERR_INVALID_CONFIG', `metrics: ${odd[0]}: expected a number, found ${typeof odd[1]}`)
  return { loss, ...own, ...more }
}
