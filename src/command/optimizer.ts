/** Optimizers and schedules by the options of the command line. */
import * as library from '../../index.js'
import { invalid } from '../options.js'
import type { ValuesOf } from './argument.js'
import { OPTIMIZERS } from './optimizer-names.js'
import type { OPTIMIZER } from './options/training.js'

type Args = ValuesOf<typeof OPTIMIZER>

/** The learning rate, as ms-swift chooses it where nobody does. */
export const learningRate = (args: Args, full: boolean): number => args.learning_rate ?? (full ? 1e-5 : 1e-4)

/** Over what of a model trains; weights decay, biases and norms do not. */
export function optimizerOf(model: library.Model, args: Args, full: boolean): library.Optimizer {
  const lr = learningRate(args, full)
  const weightDecay = args.weight_decay
  const betas: [number, number] = [args.adam_beta1, args.adam_beta2]
  const adam = { lr, betas, eps: args.adam_epsilon, weightDecay }
  switch (OPTIMIZERS[args.optim]) {
    case 'AdamW': return new library.AdamW(groups(model, lr, weightDecay), adam)
    case 'AdamW8bit': return new library.AdamW8bit(groups(model, lr, weightDecay), adam)
    case 'SGD': return new library.SGD(groups(model, lr, weightDecay), { lr, weightDecay })
    case 'Adafactor': return new library.Adafactor(groups(model, lr, weightDecay), { lr, weightDecay, scaleParameter: false, relativeStep: false })
    case 'GaLoreAdamW': return new library.GaLoreAdamW(galore(model, args, lr), adam)
    case 'QGaLoreAdamW': return new library.QGaLoreAdamW(galore(model, args, lr), adam)
    case 'GaLoreAdafactor': return new library.GaLoreAdafactor(galore(model, args, lr), { lr, weightDecay })
    case 'LoraFA': return new library.LoraFA(model, adam)
    case 'Muon': return muon(model, lr, weightDecay)
  }
}

function groups(model: library.Model, lr: number, weightDecay: number): library.ParamGroup[] {
  if (model instanceof library.SwiftModel || model instanceof library.PeftModel) return model.createOptimizerParamGroups({ lr, weightDecay })
  const decays = (name: string) => !/(^|\.)bias$|norm|(^|\.)ln_/i.test(name)
  const all = model.parameters()
  return [{ params: all.filter(p => decays(p.name)), weightDecay }, { params: all.filter(p => !decays(p.name)), weightDecay: 0 }].filter(group => group.params.length > 0)
}

function galore(model: library.Model, args: Args, lr: number): library.ParamGroup[] {
  return library.createGaLoreParamGroups(model, {
    rank: args.galore_rank, updateProjGap: args.galore_update_proj_gap, galoreScale: args.galore_scale, projType: args.galore_proj_type,
    ...(args.galore_target_modules ? { targetModules: args.galore_target_modules } : {}), ...(args.optim === 'qgalore_adamw' ? { quantize: true } : {}),
  }, { lr, weightDecay: args.weight_decay })
}

function muon(model: library.Model, lr: number, weightDecay: number): library.Optimizer {
  const params = model.parameters()
  const shapes = new Map(model.namedParameters().map(p => [p.name, p.shape]))
  const odd = params.find(p => shapes.get(p.name)?.length !== 2)
  if (odd) throw invalid('optim', `--optim muon: it takes matrices only, and ${odd.name} is none; a LoRA without biases has none else`)
  return new library.Muon(params, { lr, weightDecay })
}

/** How the learning rate changes. */
export function scheduleOf(args: Args): library.ScheduleOptions {
  const own = Object.fromEntries(Object.entries(args.lr_scheduler_kwargs).map(([name, value]) => [name.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase()), value]))
  const warmup = args.warmup_steps !== undefined ? { warmupSteps: args.warmup_steps } : args.warmup_ratio > 0 ? { warmupRatio: args.warmup_ratio } : {}
  return { name: args.lr_scheduler_type, ...warmup, ...own }
}
