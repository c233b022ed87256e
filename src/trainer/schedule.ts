import { native } from '../errors.js'
import { NativeSchedule } from '../native/binding.js'
import { integer, invalid, number, oneOf, type OptionTable } from '../options.js'

/** A learning rate that changes with the steps, as transformers' `get_scheduler` makes it. */
export interface ScheduleOptions {
  /** Which; with its settings below. */
  name: 'constant' | 'constant_with_warmup' | 'linear' | 'cosine' | 'cosine_with_min_lr' | 'cosine_with_restarts' | 'polynomial' | 'inverse_sqrt'
    | 'warmup_stable_decay'
  /** Steps over which the rate rises from 0. */
  warmupSteps?: number
  /** The same as a share of all steps, rounded up. */
  warmupRatio?: number
  /**
   * Steps until the rate is where it ends. Default: those of the run, where `train` has a length or `maxSteps` says so. A run that would
   * be longer is refused.
   */
  totalSteps?: number
  /** cosine, cosine_with_min_lr, warmup_stable_decay: waves, default 0.5. cosine_with_restarts: falls, default 1. */
  numCycles?: number
  /** cosine_with_min_lr: the least rate. */
  minLr?: number
  /** cosine_with_min_lr: the least rate as a share of the optimizer's. */
  minLrRate?: number
  /** polynomial: the power, default 1. */
  power?: number
  /** polynomial: the last rate, default 1e-7. */
  lrEnd?: number
  /** inverse_sqrt: default the warm-up's steps, or 10,000. */
  timescale?: number
  /** warmup_stable_decay: steps in which the rate falls. */
  numDecaySteps?: number
  /** warmup_stable_decay: steps before those in which the rate stays; default what is left. */
  numStableSteps?: number
  /** warmup_stable_decay: how the rate rises, default linear. */
  warmupType?: 'linear' | 'cosine' | '1-sqrt'
  /** warmup_stable_decay: how the rate falls, default cosine. */
  decayType?: 'linear' | 'cosine' | '1-sqrt'
  /** warmup_stable_decay: the least rate as a share of the optimizer's. */
  minLrRatio?: number
}

const steps = integer({ min: 0 })
const curve = oneOf('linear', 'cosine', '1-sqrt')

/** The settings that each schedule has beside warm-up and steps. */
const OWN: Record<ScheduleOptions['name'], (keyof ScheduleOptions)[]> = {
  constant: [],
  constant_with_warmup: [],
  linear: [],
  cosine: ['numCycles'],
  cosine_with_min_lr: ['numCycles', 'minLr', 'minLrRate'],
  cosine_with_restarts: ['numCycles'],
  polynomial: ['power', 'lrEnd'],
  inverse_sqrt: ['timescale'],
  warmup_stable_decay: ['numDecaySteps', 'numStableSteps', 'warmupType', 'decayType', 'minLrRatio', 'numCycles'],
}
const ALL: (keyof ScheduleOptions)[] = ['name', 'warmupSteps', 'warmupRatio', 'totalSteps']
/** These end nowhere. */
const ENDLESS: ScheduleOptions['name'][] = ['constant', 'constant_with_warmup', 'inverse_sqrt', 'warmup_stable_decay']

export const SCHEDULE: OptionTable<ScheduleOptions> = {
  name: oneOf(...Object.keys(OWN)),
  warmupSteps: steps,
  warmupRatio: number({ min: 0, max: 1 }),
  totalSteps: integer({ min: 1 }),
  numCycles: number({ above: 0 }),
  minLr: number({ min: 0 }),
  minLrRate: number({ min: 0, max: 1 }),
  power: number({ above: 0 }),
  lrEnd: number({ min: 0 }),
  timescale: number({ above: 0 }),
  numDecaySteps: steps,
  numStableSteps: steps,
  warmupType: curve,
  decayType: curve,
  minLrRatio: number({ min: 0, max: 1 }),
}

/** Refuses settings that belong to another schedule, or exclude each other. */
export function checkSchedule(o: ScheduleOptions): void {
  if (o.name == null) throw invalid('schedule.name', `Trainer: schedule.name: missing; there are ${Object.keys(OWN).join(', ')}`)
  const has = [...ALL, ...OWN[o.name]]
  for (const [name, value] of Object.entries(o)) {
    if (value != null && !has.includes(name as keyof ScheduleOptions)) {
      throw invalid(`schedule.${name}`, `Trainer: schedule.${name}: ${o.name} does not have it; it has ${has.slice(1).join(', ')}`)
    }
  }
  for (const [a, b] of [['warmupSteps', 'warmupRatio'], ['minLr', 'minLrRate']] as const) {
    if (o[a] != null && o[b] != null) throw invalid(`schedule.${b}`, `Trainer: schedule.${b}: give it or ${a}, not both`)
  }
}

/** Whether a schedule has to know how many steps there are, and was not told. */
export const needsTotal = (o: ScheduleOptions): boolean => o.totalSteps == null && (!ENDLESS.includes(o.name) || o.warmupRatio != null)

/** @internal The schedule of a run of `planned` steps, where their number is known, for an optimizer's learning rate. */
export function schedule(o: ScheduleOptions, planned: number | undefined, learningRate: number): NativeSchedule {
  if (o.totalSteps != null && planned !== undefined && o.totalSteps < planned) {
    throw invalid('schedule.totalSteps', `schedule.totalSteps: the run has ${planned} steps, and ${o.totalSteps} are fewer; leave it out, or end the run with run({ maxSteps: ${o.totalSteps} })`)
  }
  const total = o.totalSteps ?? planned
  if (total === undefined && (!ENDLESS.includes(o.name) || o.warmupRatio != null)) {
    throw invalid('schedule.totalSteps', `schedule.totalSteps: ${o.warmupRatio != null ? 'warmupRatio' : o.name} needs the number of steps, and train has no length to tell it; give totalSteps, or run({ maxSteps })`)
  }
  const share = (rate: number | undefined) => (rate == null ? undefined : Math.min(1, rate / learningRate))
  const least = o.name === 'polynomial' ? share(o.lrEnd ?? 1e-7) : (share(o.minLr) ?? o.minLrRate ?? o.minLrRatio)
  if (o.name === 'polynomial' && (o.lrEnd ?? 1e-7) >= learningRate) throw invalid('schedule.lrEnd', `schedule.lrEnd: ${o.lrEnd ?? 1e-7} is no less than the learning rate of ${learningRate}`)
  return native(() => new NativeSchedule({
    name: o.name,
    warmup: o.warmupSteps ?? Math.ceil((o.warmupRatio ?? 0) * (total ?? 0)),
    total,
    numCycles: o.numCycles ?? undefined,
    power: o.power ?? undefined,
    least: least ?? undefined,
    timescale: o.timescale ?? undefined,
    decaySteps: o.numDecaySteps ?? undefined,
    stableSteps: o.numStableSteps ?? undefined,
    warmupType: o.warmupType ?? undefined,
    decayType: o.decayType ?? undefined,
  }))
}
