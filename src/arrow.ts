/** Arrow: adapters that each token chooses from. */
import { SwiftTunersError } from './errors.js'
import type { Model } from './model.js'
import { checkArgument, checkOptions, isObject, list, type OptionTable, path, where } from './options.js'
import { LOAD_ADAPTER, type LoadAdapterOptions, PeftModel } from './peft-model.js'
import { LoraConfig } from './tuners.js'

type ArrowConfig = NonNullable<LoraConfig['arrowConfig']>

/** How the adapters are loaded. */
export interface ArrowOptions extends LoadAdapterOptions {
  /** General adapters, of which the others' difference counts (`use_gks`). */
  generalAdapterPaths?: string[]
}

const paths = list(path)
const OPTIONS: OptionTable<ArrowOptions> = { ...LOAD_ADAPTER, generalAdapterPaths: paths }

/**
 * Loads LoRAs as `task_0`, `task_1`, … (general ones, with `use_gks`, as `gks_0`, …) and makes `arrow_router` the active adapter, which
 * routes each token through those that it looks most like. As `peft.tuners.lora.create_arrow_model`. Ostapenko et al. 2024
 * (arXiv 2405.11157).
 */
export async function createArrowModel(
  model: Model,
  taskSpecificAdapterPaths: string[],
  arrowConfig: ArrowConfig = {},
  options: ArrowOptions = {},
): Promise<PeftModel> {
  checkArgument('createArrowModel', 'taskSpecificAdapterPaths', taskSpecificAdapterPaths, paths)
  checkArgument('createArrowModel', 'arrowConfig', arrowConfig, where('an object', isObject))
  const { generalAdapterPaths = [], ...load } = checkOptions('createArrowModel', options, OPTIONS)
  const general = arrowConfig.use_gks ? generalAdapterPaths : []
  if (taskSpecificAdapterPaths.length === 0 || (arrowConfig.use_gks && general.length === 0)) {
    throw new SwiftTunersError('ERR_INVALID_CONFIG', 'createArrowModel: there are no adapters to route to, or no general ones for use_gks')
  }
  const named = (prefix: string) => (_: string, i: number) => `${prefix}_${i}`
  const [tasks, generals] = [taskSpecificAdapterPaths.map(named('task')), general.map(named('gks'))]
  const tuned = await PeftModel.fromPretrained(model, taskSpecificAdapterPaths[0], { ...load, adapterName: tasks[0] })
  const rest = [...taskSpecificAdapterPaths.slice(1), ...general]
  for (const [i, name] of [...tasks.slice(1), ...generals].entries()) await tuned.loadAdapter(rest[i], name, load)
  const { targetModules, r } = tuned.peftConfig.get(tasks[0]) as LoraConfig
  const router = { ...arrowConfig, task_adapter_names: tasks, gks_adapter_names: generals }
  await tuned.addAdapter('arrow_router', new LoraConfig({ arrowConfig: router, targetModules, r }))
  tuned.setAdapter('arrow_router')
  return tuned
}
