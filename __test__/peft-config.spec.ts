import test from 'ava'
import { HRAConfig, IA3Config, LoHaConfig, LoraConfig, PeftConfig, PeftModel, Swift, type SwiftTunersError, VeraConfig } from '../index.js'
import { base } from './support.js'

const refused = async (make: () => unknown): Promise<SwiftTunersError> => {
  try {
    await make()
  } catch (e) {
    return e as SwiftTunersError
  }
  throw new Error('nothing was refused')
}

test('a misspelt field is refused with the nearest name', async t => {
  const cases: [() => unknown, RegExp][] = [
    [() => new LoraConfig({ loraAlhpa: 4 } as object), /loraAlhpa.*loraAlpha/],
    [() => new HRAConfig({ applyGs: true } as object), /applyGs.*applyGS/],
    [() => new IA3Config({ feedForwardModules: ['down_proj'] } as object), /feedforwardModules/],
    [() => new LoHaConfig({ rankDropOut: 0.1 } as object), /rankDropout/],
    [() => new VeraConfig({ projectionPrngKeys: 1 } as object), /projectionPrngKey/],
  ]
  for (const [make, message] of cases) {
    const error = await refused(make)
    t.is(error.code, 'ERR_INVALID_CONFIG')
    t.regex(error.message, message)
  }
  t.notThrows(() => PeftConfig.fromJSON({ peft_type: 'HRA', of_a_later_version: 1 }))
})

test('what PEFT refuses is refused, and what this version does not do is not ignored', async t => {
  const cases: [object, RegExp][] = [
    [{ layersPattern: 'layers' }, /layersToTransform/],
    [{ targetModules: '.*q_proj', layersToTransform: [0] }, /regular expression/],
    [{ taskType: 'CAUSAL' }, /CAUSAL_LM/],
    [{ loraBias: true, initLoraWeights: 'gaussian' }, /loraBias/],
    [{ useDora: true, loraBias: true }, /^useDora: does not go with loraBias or useMergedLinear$/],
    [{ r: 0 }, /r: expected a number in 1\.\., found 0/],
  ]
  for (const [fields, message] of cases) t.regex((await refused(() => new LoraConfig(fields))).message, message)
  t.regex((await refused(() => PeftConfig.fromJSON({ peft_type: 'LORA', megatron_config: { hidden: 1 } }))).message, /megatron_config/)
  t.notThrows(() => new LoraConfig({ layersPattern: '' }))
})

test('a second adapter with a bias is refused, as the first one trains the same tensor', async t => {
  const config = () => new LoraConfig({ targetModules: ['q_proj'], bias: 'all' })
  const model = await Swift.prepareModel(await base('llama-tied-bias'), config())
  const error = await refused(() => Swift.prepareModel(model, config(), { adapterName: 'b' }))
  t.regex(error.message, /bias/)
  await Swift.prepareModel(model, new LoraConfig({ targetModules: ['q_proj'] }), { adapterName: 'b' })
})

test('adapters of other types are refused to combine, and modules_to_save are no obstacle', async t => {
  const saved = new LoraConfig({ targetModules: ['q_proj'], modulesToSave: ['lm_head'] })
  const model = await Swift.prepareModel(await base('llama'), saved) as PeftModel
  await Swift.prepareModel(model, new LoraConfig({ targetModules: ['q_proj'] }), { adapterName: 'plain' })
  await Swift.prepareModel(model, new HRAConfig({ targetModules: ['v_proj'] }), { adapterName: 'hra' })
  const combine = (adapters: string[]) => model.addWeightedAdapter({ adapters, weights: adapters.map(() => 0.5), adapterName: 'new', combinationType: 'linear' })
  t.is((await refused(() => combine(['plain', 'hra']))).code, 'ERR_UNSUPPORTED_TUNER')
  t.is((await refused(() => combine(['hra', 'hra']))).code, 'ERR_UNSUPPORTED_TUNER')
  await combine(['plain', 'default'])
})

test('a merged adapter is no obstacle to deleting another one', async t => {
  const config = () => new LoraConfig({ targetModules: ['q_proj'], initLoraWeights: false })
  const model = await Swift.prepareModel(await base('llama'), config()) as PeftModel
  await Swift.prepareModel(model, config(), { adapterName: 'other' })
  await Swift.merge(model, { adapterNames: ['default'] })
  model.deleteAdapter('other')
  t.regex((await refused(() => model.deleteAdapter('default'))).message, /unmerge/)
})
