/** Adapters that are switched over and over: equal sets give equal bits, and nothing grows. */
import { Swift } from '../../index.js'
import { base, logits, lora } from '../support.js'
import { count, must, program, random } from './program.js'
import { rounds } from './resident.js'

program(async () => {
  const names = ['a', 'b', 'c']
  const model = await Swift.prepareModel(await base(), Object.fromEntries(names.map(name => [name, lora()])), { seed: 1 })
  const outputs = new Map<string, string>()
  const switching = (offload?: 'meta') => async (round: number) => {
    const active = names.filter(() => random() < 0.5)
    model.setActiveAdapters(active, offload ? { offload } : {})
    if (round % 100 > 0) return
    const [key, output] = [active.join(), (await logits(model)).join()]
    must((outputs.get(key) ?? output) === output, `${key}: other outputs in round ${round}`)
    outputs.set(key, output)
  }
  await rounds('switches', count(10_000, 400), switching(), { growth: 16 }, 10)
  await rounds('switches with offload', count(1000, 100), switching('meta'), { growth: 16 }, 10)
})
