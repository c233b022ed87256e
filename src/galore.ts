/** Parameter groups for GaLore, as SWIFT makes them. */
import { native } from './errors.js'
import { Model } from './model.js'
import { boolean, checkArgument, checkOptions, either, instance, integer, list, number, type OptionTable, requireOptions, text } from './options.js'
import { LR_HINTS, type ParamGroup, PROJECTION, type ProjectionType } from './param-group.js'

/** SWIFT's `GaLoreConfig`, in camelCase. */
export interface GaLoreConfig {
  /** Default 128. */
  rank?: number
  /** Parts of module paths; default all blocks. */
  targetModules?: string | string[]
  /** Steps between new bases. Default 50. */
  updateProjGap?: number
  /** Factor on what comes back from the space. Default 1. */
  galoreScale?: number
  /** On which side gradients are projected. Default 'std': the shorter one. */
  projType?: ProjectionType
  /** A group per parameter, and twice the gap. */
  optimPerParameter?: boolean
  /** Q-GaLore: for QGaLoreAdamW. */
  quantize?: boolean
  /** Q-GaLore: bits of the packed basis. Default 4. */
  projBits?: number
  /** Q-GaLore: values that share a scale. Default 256. */
  projGroupSize?: number
  /** Q-GaLore: how alike two bases must be for the gap to grow. Default 0.4. */
  cosThreshold?: number
  /** Q-GaLore: how the gap grows. Default 2. */
  gammaProj?: number
  /** Q-GaLore: how many comparisons decide. Default 5. */
  queueSize?: number
}

/** What groups have that say nothing of their own. */
export interface GroupDefaults {
  /** The learning rate. */
  lr: number
  /** Default 0. */
  weightDecay?: number
}

const count = integer({ min: 1, max: 2 ** 32 - 1 })
const CONFIG: OptionTable<GaLoreConfig> = {
  rank: count, targetModules: either(text, list(text)), updateProjGap: integer({ min: 1, max: 2 ** 31 - 1 }), galoreScale: number({ min: 0 }), projType: PROJECTION,
  optimPerParameter: boolean, quantize: boolean, projBits: count, projGroupSize: count, cosThreshold: number({ min: 0 }), gammaProj: number({ min: 0 }),
  queueSize: count,
}
const DEFAULTS: OptionTable<GroupDefaults> = { lr: number({ min: 0 }), weightDecay: number({ min: 0 }) }

/** The trainable parameters in the groups that SWIFT makes for GaLore: low-rank ones, then the rest with and without decay. */
export function createGaLoreParamGroups(model: Model, config: GaLoreConfig, defaults: GroupDefaults): ParamGroup[] {
  const call = 'createGaLoreParamGroups'
  checkArgument(call, 'model', model, instance(Model, 'a Model'))
  const given = checkOptions(`${call}: config`, config, CONFIG)
  const { lr, weightDecay = 0 } = checkOptions(`${call}: defaults`, defaults, DEFAULTS, LR_HINTS)
  requireOptions(`${call}: defaults`, defaults, 'lr')
  const targets = [given.targetModules ?? []].flat()
  const each = (given.optimPerParameter ?? false) && !given.quantize
  const byName = new Map(model.parameters().map(p => [p.name, p]))
  const projected = {
    lr,
    rank: given.rank ?? 128,
    updateProjGap: (given.updateProjGap ?? 50) * (each ? 2 : 1),
    scale: given.galoreScale ?? 1,
    projType: given.projType ?? 'std',
    ...(given.quantize ? {
      quant: true, quantNBit: given.projBits ?? 4, quantGroupSize: given.projGroupSize ?? 256, cosThreshold: given.cosThreshold ?? 0.4,
      gammaProj: given.gammaProj ?? 2, queueSize: given.queueSize ?? 5,
    } : {}),
  }
  return native(() => model.native.galoreGroups(targets, weightDecay, each)).map(g => {
    const group: ParamGroup = { params: g.names.map(n => byName.get(n)!), weightDecay: g.weightDecay }
    return g.projected ? { ...group, ...projected } : group
  })
}
