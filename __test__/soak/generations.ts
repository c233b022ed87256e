/** Decoding that runs to its end, and decoding that is aborted in the middle. */
import { Swift } from '../../index.js'
import { base, lora } from '../support.js'
import { count, figure, must, program, random } from './program.js'
import { rounds } from './resident.js'

program(async () => {
  const model = await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
  const inputs = { inputIds: [[5, 9, 2, 77], [8, 1, 150, 3]] }
  const whole = async (signal?: AbortSignal) => {
    const steps: number[][] = []
    for await (const ids of model.generate(inputs, { maxNewTokens: 16, signal })) steps.push(ids)
    return steps.join(';')
  }
  const expected = await whole()
  let aborted = 0
  await rounds('generations, half of them aborted', count(2000, 60), async round => {
    if (round % 2 === 0) return must(await whole() === expected, `other tokens in round ${round}`)
    const controller = new AbortController()
    setTimeout(() => controller.abort(), random() * 10)
    try {
      must(await whole(controller.signal) === expected, `other tokens in round ${round}`)
    } catch (error) {
      aborted += 1
      must((error as Error).name === 'AbortError', `an abort rejects with ${String(error)}`)
    }
  }, { growth: 16 })
  figure('aborted', aborted)
  must(aborted > 0, 'nothing was aborted')
})
