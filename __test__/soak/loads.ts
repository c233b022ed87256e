/** Models and adapters that are loaded, used and given up: what nobody has any more is gone. */
import { join } from 'node:path'
import { LoRAConfig, type Model, type PeftModel, Swift } from '../../index.js'
import { base, fixtures, logits } from '../support.js'
import { count, figure, must, program } from './program.js'
import { collected, rounds } from './resident.js'

const adapter = join(fixtures, 'peft/basic/checkpoint')

/** That handles of what was dropped are finalized. */
async function finalized(): Promise<void> {
  let gone = 0
  const registry = new FinalizationRegistry<string>(() => { gone += 1 })
  const made = count(50, 10)
  for (let i = 0; i < made; i++) {
    const model = await Swift.fromPretrained(await base(), adapter)
    registry.register(model, 'model')
    registry.register(model.parameter('base_model.model.model.norm.weight'), 'tensor')
  }
  // The last one may still be on the stack.
  await new Promise(done => setTimeout(done, 10))
  await collected()
  figure('finalized', `${gone} of ${2 * made} handles after 3 collections`)
  must(gone >= 2 * made - 2, `${2 * made - gone} handles are still there after 3 collections`)
}

program(async () => {
  const slope = 4
  await rounds('load, pass, dispose', count(1000, 20), async () => {
    const model = await Swift.fromPretrained(await base(), adapter)
    await logits(model)
    model.dispose()
  }, { slope })
  await rounds('load, pass, drop', count(1000, 20), async () => {
    await logits(await Swift.fromPretrained(await base(), adapter))
  }, { slope })
  const kept = await base()
  await rounds('load and delete an adapter', count(1000, 20), async round => {
    const model = await Swift.fromPretrained(kept, adapter, { adapterName: { default: `n${round}` } }) as PeftModel
    await logits(model)
    model.deleteAdapter(`n${round}`)
  }, { slope })
  // Under one name: those that were merged stay listed by their names, as in Python.
  let merged: Model = await base()
  await rounds('prepare, merge, unload', count(1000, 20), async () => {
    const tuned = await Swift.prepareModel(merged, { a: new LoRAConfig({ r: 2, targetModules: ['q_proj'], initLoraWeights: false }) })
    await Swift.mergeAndUnload(tuned)
    merged = tuned
  }, { slope })
  await finalized()
})
