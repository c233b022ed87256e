/** Parameters that train alike. */
import { SwiftTunersError } from './errors.js'
import type { NativeProjection } from './native/binding.js'
import { boolean, checkOptions, instance, integer, type Kind, list, number, oneOf, type OptionTable, shown } from './options.js'
import { Parameter } from './parameter.js'

/** On which side GaLore projects. */
export type ProjectionType = 'std' | 'reverse_std' | 'right' | 'left' | 'full'

/** Parameters with settings of their own; those of a low-rank space are GaLore's, and a `rank` turns it on. */
export interface ParamGroup {
  /** As `model.parameters()` gives them. */
  params: Parameter[]
  /** Default: the optimizer's. It may be changed between steps. */
  lr?: number
  /** Default: the optimizer's. It may be changed between steps. */
  weightDecay?: number
  /** GaLore: dimensions of the space that gradients are projected to. */
  rank?: number
  /** GaLore: steps between new bases. */
  updateProjGap?: number
  /** GaLore: factor on what comes back from the space. */
  scale?: number
  /** GaLore: on which side. */
  projType?: ProjectionType
  /** Q-GaLore: whether the basis is packed. */
  quant?: boolean
  /** Q-GaLore: bits of the packed basis. */
  quantNBit?: number
  /** Q-GaLore: values that share a scale. */
  quantGroupSize?: number
  /** Q-GaLore: how alike two bases must be for the gap to grow. */
  cosThreshold?: number
  /** Q-GaLore: how the gap grows. */
  gammaProj?: number
  /** Q-GaLore: how many comparisons decide. */
  queueSize?: number
}

const count = integer({ min: 1, max: 2 ** 32 - 1 })
export const PROJECTION: Kind = oneOf('std', 'reverse_std', 'right', 'left', 'full')
export const PARAMETERS: Kind = { ...list(instance(Parameter, 'a Parameter')), expected: 'a list of Parameters' }

const GROUP: OptionTable<ParamGroup> = {
  params: PARAMETERS,
  lr: number({ min: 0 }),
  weightDecay: number({ min: 0 }),
  rank: count,
  updateProjGap: count,
  scale: number({ min: 0 }),
  projType: PROJECTION,
  quant: boolean,
  quantNBit: count,
  quantGroupSize: count,
  cosThreshold: number({ min: 0 }),
  gammaProj: number({ min: 0 }),
  queueSize: count,
}

export const LR_HINTS: Record<string, string> = { learningRate: 'it is called lr' }

/** What optimizers take: parameters, or groups of them. */
export type Params = Parameter[] | ParamGroup[]

/** The groups of what an optimizer is given, checked. */
export function groupsOf(kind: string, params: Params): ParamGroup[] {
  const is = (value: unknown): value is ParamGroup => typeof value === 'object' && value !== null && 'params' in value
  if (!Array.isArray(params) || !(Array.from<unknown>(params).every(is) || PARAMETERS.accepts(params))) {
    throw new SwiftTunersError('ERR_INVALID_ARGUMENT', `${kind}: params: expected Parameters, as model.parameters() gives them, or groups of them, found ${shown(params)}`, { details: { option: 'params' } })
  }
  const groups = params.length > 0 && is(params[0]) ? (params as ParamGroup[]) : [{ params: params as Parameter[] }]
  for (const [i, group] of groups.entries()) {
    checkOptions(`${kind}: group ${i}`, group, GROUP, LR_HINTS)
    if (!group.params) throw new SwiftTunersError('ERR_INVALID_CONFIG', `${kind}: group ${i}: params: missing`, { details: { option: 'params' } })
  }
  if (groups.every(g => g.params.length === 0)) throw new SwiftTunersError('ERR_INVALID_CONFIG', `${kind}: no parameters; is the model frozen?`)
  return groups
}

/** The rates of groups, which may have been changed since. */
export function ratesOf(kind: string, groups: readonly ParamGroup[]): { lr?: number; weightDecay?: number }[] {
  return groups.map(({ lr, weightDecay }, i) =>
    checkOptions<{ lr?: number; weightDecay?: number }>(`${kind}: group ${i}`, { lr, weightDecay }, { lr: GROUP.lr, weightDecay: GROUP.weightDecay }))
}

/** @internal GaLore's fields of a group, when it has a rank. */
export function lowRank(group: ParamGroup): NativeProjection | undefined {
  const { rank, quant, updateProjGap, scale, projType, quantNBit, quantGroupSize, cosThreshold, gammaProj, queueSize } = checkOptions('group', group, GROUP)
  if (rank === undefined) return undefined
  return { rank, quant: quant ?? false, updateProjGap, scale, projType, quantNBit, quantGroupSize, cosThreshold, gammaProj, queueSize }
}
