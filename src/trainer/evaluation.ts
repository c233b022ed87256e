import { native, SwiftTunersError } from '../errors.js'
import { Data } from './data.js'
import type { Evaluation, TrainerOptions } from './options.js'
import { evaluateLoss, type Passes } from './passes.js'

/** What the evaluation's data gives in an epoch, with `metrics` of the caller's if they are wanted. */
export async function evaluated(o: TrainerOptions, passes: Passes, epoch: number, metrics: TrainerOptions['metrics']): Promise<Evaluation> {
  if (o.evaluate == null) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'evaluate: the Trainer was given no data for it')
  const loss = await evaluateLoss(passes, Data.located('evaluate', o.evaluate, epoch, o.seed ?? 0))
  if (!metrics) return { loss }
  // They see the model as it answers.
  native(() => passes.model.native.train(false))
  const more = await metrics(passes.model)
  const odd = Object.entries(more).find(([, value]) => typeof value !== 'number')
  if (odd) throw new SwiftTunersError('ERR_INVALID_CONFIG', `metrics: ${odd[0]}: expected a number, found ${typeof odd[1]}`)
  return { loss, ...more }
}
