import { checkOptions, invalidArgument, list, boolean as bool, number, oneOf, type OptionTable, shown } from '../options.js'
import { Tensor } from '../tensor.js'
import { checkGiven, type Numbers, precise } from './terms.js'

/** Log-probabilities of answers that are each good or bad by themselves, summed over their tokens. */
export interface UnpairedLogps {
  /** `log p` of the answers, `[rows]`. */
  logps: Tensor
  /** The reference's. */
  refLogps: Numbers
  /** Which of them are good. */
  labels: boolean[]
  /** `log p` of answers to other prompts, of which the reference point is the mean; for `kto`. */
  klLogps?: Numbers
  /** The reference's of these. */
  refKlLogps?: Numbers
}

/** How good and bad answers count. */
export interface KTOLossOptions {
  /** How much answers may differ from the reference's: larger, less. Default 0.1. */
  beta?: number
  /** `kto`, or `apo_zero_unpaired` (2408.06266), which has no reference point. Default kto. */
  lossType?: 'kto' | 'apo_zero_unpaired'
  /** Weight of good answers. Default 1. */
  desirableWeight?: number
  /** Weight of bad ones. Default 1. */
  undesirableWeight?: number
}

/** What `ktoLoss` gives. */
export interface KTOLoss {
  /** The mean of `losses`; scalar, in f64. */
  loss: Tensor
  /** Of each answer, `[rows]`. */
  losses: Tensor
  /** How good the loss finds each answer; without gradients. */
  rewards: Tensor
  /** The reference point. */
  kl: number
}

export const KTO: OptionTable<KTOLossOptions> = {
  beta: number({ above: 0 }), lossType: oneOf('kto', 'apo_zero_unpaired'), desirableWeight: number({ min: 0 }), undesirableWeight: number({ min: 0 }),
}

/**
 * Kahneman-Tversky optimisation: good answers get likelier and bad ones less likely than a reference point, which is how much likelier the
 * model finds answers at all than the reference does. Ethayarajh et al. 2024 (arXiv 2402.01306).
 */
export function ktoLoss(given: UnpairedLogps, options: KTOLossOptions = {}): KTOLoss {
  const call = 'ktoLoss'
  const { beta = 0.1, lossType = 'kto', desirableWeight = 1, undesirableWeight = 1 } = checkOptions(call, options, KTO)
  checkGiven(call, 'given', given)
  const own = precise(call, 'logps', given.logps)
  const rows = own.shape[0] ?? 0
  if (!list(bool).accepts(given.labels) || given.labels.length !== rows) throw invalidArgument('labels', `${call}: labels: expected ${rows} times true or false, found ${shown(given.labels)}`)
  const ratio = own.sub(precise(call, 'refLogps', given.refLogps, rows))
  const kl = lossType === 'kto' ? Math.max(0, precise(call, 'klLogps', given.klLogps).detach().sub(precise(call, 'refKlLogps', given.refKlLogps)).mean().item()) : 0
  const each = (of: (good: boolean) => number) => Tensor.from(given.labels.map(of), undefined, { dtype: 'f64' })
  const [sign, weight] = [each(good => (good ? beta : -beta)), each(good => (good ? desirableWeight : undesirableWeight))]
  const losses = ratio.sub(kl).mul(sign).sigmoid().neg().add(1).mul(weight)
  return { loss: losses.mean(), losses, rewards: ratio.detach().mul(beta), kl }
}
