import { mean } from '../mean.js'
import { boolean, checkOptions, integer, invalid, invalidArgument, list, number, oneOf, type OptionTable, shown } from '../options.js'
import { Tensor } from '../tensor.js'
import { atLeast, atMost, checkGiven, type Numbers, precise, smaller } from './terms.js'

/** Log-probabilities of sampled answers token by token, `[rows, tokens]`. */
export interface SampledLogps {
  /** The model's. */
  logps: Tensor
  /** 1 where a token is of the answer, 0 elsewhere. */
  mask: Tensor
  /** How much better each row is than the others of its group. */
  advantages: Numbers
  /** Those of the model that the answers were sampled from. Default: the model's own, as they are now. */
  oldLogps?: Tensor
  /** The reference's; for `beta`. */
  refLogps?: Tensor
  /** Over how many tokens `dapo` and `cispo` take the mean: those of the whole step. Default: those of these rows. */
  items?: number
}

/** How far a step may go; the names are TRL's. */
export interface GRPOLossOptions {
  /** Weight of the divergence from the reference. Default 0. */
  beta?: number
  /** How far the ratio of probabilities may fall below 1. Default 0.2. */
  epsilon?: number
  /** How far it may rise above 1 (DAPO, 2503.14476); for `cispo` the highest ratio itself. Default: `epsilon`. */
  epsilonHigh?: number
  /** No ratio counts for more (2-sided clipping). */
  delta?: number
  /**
   * What the mean is taken over: `grpo` of each row and then of the rows (2402.03300), `bnpo` all tokens of the batch, `dr_grpo` rows times
   * `maxCompletionLength` (2503.20783), `dapo` and `cispo` (2506.13585) all tokens of the step. Default dapo.
   */
  lossType?: 'grpo' | 'bnpo' | 'dr_grpo' | 'dapo' | 'cispo'
  /** The ratio of each token, or of whole answers (GSPO, 2507.18071). Default token. */
  importanceSamplingLevel?: 'token' | 'sequence'
  /** Weighs the divergence by the ratio. Default false. */
  useBiasCorrectionKl?: boolean
  /** The most tokens of an answer; for `dr_grpo`. */
  maxCompletionLength?: number
}

/** What `grpoLoss` gives. */
export interface GRPOLoss {
  /** Scalar, in f64. */
  loss: Tensor
  /** The mean divergence from the reference over tokens; 0 without one. */
  kl: number
  /** The share of tokens whose ratio was cut. */
  clipRatio: number
}

export const GRPO: OptionTable<GRPOLossOptions> = {
  beta: number({ min: 0 }), epsilon: number({ min: 0 }), epsilonHigh: number({ min: 0 }), delta: number({ above: 0 }),
  lossType: oneOf('grpo', 'bnpo', 'dr_grpo', 'dapo', 'cispo'), importanceSamplingLevel: oneOf('token', 'sequence'), useBiasCorrectionKl: boolean,
  maxCompletionLength: integer({ min: 1 }),
}

/** Group relative policy optimisation and its kin: answers that are better than others to the same prompt get likelier, by steps that are cut. */
export function grpoLoss(sampled: SampledLogps, options: GRPOLossOptions = {}): GRPOLoss {
  const call = 'grpoLoss'
  const { beta = 0, epsilon = 0.2, epsilonHigh = epsilon, delta, lossType = 'dapo', importanceSamplingLevel = 'token', useBiasCorrectionKl = false, maxCompletionLength } = checkOptions(call, options, GRPO)
  checkGiven(call, 'sampled', sampled)
  const logps = precise(call, 'logps', sampled.logps)
  const [rows, width] = logps.shape
  const likewise = (name: string, value: Tensor | undefined) => {
    const tensor = precise(call, name, value)
    if (tensor.shape.join() !== logps.shape.join()) throw invalidArgument(name, `${call}: ${name}: expected ${JSON.stringify(logps.shape)}, found ${JSON.stringify(tensor.shape)}`)
    return tensor
  }
  const mask = likewise('mask', sampled.mask)
  const advantages = precise(call, 'advantages', sampled.advantages, rows).reshape(rows, 1)
  const lengths = mask.sum(1, { keepDim: true })
  const tokens = mask.sum()
  const each = logps.sub(sampled.oldLogps === undefined ? logps.detach() : likewise('oldLogps', sampled.oldLogps).detach())
  const ratio = (importanceSamplingLevel === 'sequence' ? each.mul(mask).sum(1, { keepDim: true }).div(lengths) : each).exp()

  let losses: Tensor
  if (lossType === 'cispo') losses = atMost(ratio.detach(), epsilonHigh).mul(advantages).mul(logps).neg()
  else {
    const inside = atMost(atLeast(ratio, 1 - epsilon), 1 + epsilonHigh)
    losses = smaller((delta === undefined ? ratio : atMost(ratio, delta)).mul(advantages), inside.mul(advantages)).neg()
  }
  let kl: Tensor | undefined
  if (sampled.refLogps !== undefined) {
    const behind = likewise('refLogps', sampled.refLogps).detach().sub(logps)
    kl = behind.exp().sub(behind).sub(1)
  }
  if (beta > 0) {
    if (kl === undefined) throw invalidArgument('refLogps', `${call}: refLogps: beta needs those of the reference`)
    losses = losses.add((useBiasCorrectionKl ? kl.mul(ratio) : kl).mul(beta))
  }
  losses = losses.mul(mask)
  const { items = tokens.item() } = sampled
  if (lossType === 'dr_grpo' && maxCompletionLength === undefined) throw invalid('maxCompletionLength', `${call}: maxCompletionLength: dr_grpo needs it`)
  const over = lossType === 'bnpo' ? tokens.item() : lossType === 'dr_grpo' ? rows * maxCompletionLength! : items
  const loss = lossType === 'grpo' ? losses.sum(1, { keepDim: true }).div(lengths).mean() : losses.sum().div(over)
  return { loss, kl: kl ? kl.detach().mul(mask).sum().item() / tokens.item() : 0, clipRatio: clipped(ratio.detach(), advantages, mask, width, 1 - epsilon, 1 + epsilonHigh) }
}

/** The share of tokens whose ratio lay where the loss does not follow it. */
function clipped(ratio: Tensor, advantages: Tensor, mask: Tensor, width: number, low: number, high: number): number {
  const [ratios, signs, counts] = [ratio, advantages, mask].map(t => Array.from(t.dataSync(), Number))
  const perToken = ratios.length === counts.length
  let [cut, all] = [0, 0]
  for (let i = 0; i < counts.length; i++) {
    const row = Math.floor(i / width)
    const r = ratios[perToken ? i : row]
    all += counts[i]
    if ((r < low && signs[row] < 0) || (r > high && signs[row] > 0)) cut += counts[i]
  }
  return all === 0 ? 0 : cut / all
}

/** How rewards become advantages. */
export interface AdvantageOptions {
  /** Answers to one prompt, which stand beside each other. */
  numGenerations: number
  /** Divides by the standard deviation of the group, of the batch, or not. Default group. */
  scaleRewards?: 'group' | 'batch' | 'none'
}

const ADVANTAGES: OptionTable<AdvantageOptions> = { numGenerations: integer({ min: 1 }), scaleRewards: oneOf('group', 'batch', 'none') }

/** How much better each answer is than the mean of those to the same prompt, in standard deviations (with n − 1, and 1e-4 added). */
export function groupAdvantages(rewards: number[], options: AdvantageOptions): number[] {
  const call = 'groupAdvantages'
  const { numGenerations: n, scaleRewards = 'group' } = checkOptions(call, options, ADVANTAGES)
  if (!list(number()).accepts(rewards)) throw invalidArgument('rewards', `${call}: rewards: expected numbers, found ${shown(rewards)}`)
  if (!(n >= 1)) throw invalid('numGenerations', `${call}: numGenerations: missing`)
  if (rewards.length % n !== 0) throw invalidArgument('rewards', `${call}: rewards: ${rewards.length} are no multiple of numGenerations, ${n}`)
  const whole = deviation(rewards)
  return rewards.map((reward, i) => {
    const from = i - (i % n)
    const group = rewards.slice(from, from + n)
    const centred = reward - mean(group)
    return scaleRewards === 'none' ? centred : centred / ((scaleRewards === 'group' ? deviation(group) : whole) + 1e-4)
  })
}

const deviation = (values: number[]) => (values.length < 2 ? 0 : Math.sqrt(values.reduce((s, v) => s + (v - mean(values)) ** 2, 0) / (values.length - 1)))
