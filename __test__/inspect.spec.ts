/** What a console shows. */
import { inspect } from 'node:util'
import test from 'ava'
import { AdamW, GaLoreAdamW, LoraConfig, LoRAConfig, Parameter, type PeftModel, PromptTuningConfig, Swift, Tensor } from '../index.js'
import { base, lora } from './support.js'

test('tensors show values, shape, type and place', t => {
  const tensor = Tensor.from([[1.5, 2], [1e-7, -3000.123456]], undefined, { dtype: 'f64' })
  const text = `tensor([[1.5, 2],
        [1.0000e-7, -3000.1235]], shape=[2, 2], dtype=f64, device=cpu)`
  t.is(inspect(tensor), text)
  t.is(String(tensor), text)
  t.is(inspect(Tensor.from([1, 2], undefined, { dtype: 'i64' })), 'tensor([1, 2], shape=[2], dtype=i64, device=cpu)')
  t.is(inspect(Tensor.from([7]).sum()), 'tensor(7, shape=[], dtype=f32, device=cpu)')
  t.is(inspect(Tensor.zeros([0, 3])), 'tensor([], shape=[0, 3], dtype=f32, device=cpu)')
  t.is(inspect(Tensor.from([[NaN, Infinity]])), 'tensor([[NaN, Infinity]], shape=[1, 2], dtype=f32, device=cpu)')
  t.is(inspect(Tensor.from(Float32Array.from({ length: 1000 }, (_, i) => i), [10, 100])), `tensor([[0, 1, 2, …, 97, 98, 99],
        [100, 101, 102, …, 197, 198, 199],
        [200, 201, 202, …, 297, 298, 299],
        …,
        [700, 701, 702, …, 797, 798, 799],
        [800, 801, 802, …, 897, 898, 899],
        [900, 901, 902, …, 997, 998, 999]], shape=[10, 100], dtype=f32, device=cpu)`)
  t.is(JSON.stringify({ tensor }), '{"tensor":{"shape":[2,2],"dtype":"f64","device":"cpu"}}')
  tensor.dispose()
  t.is(inspect(tensor), 'Tensor(disposed)')
})

test('large tensors show few values, fast', t => {
  const text = inspect(Tensor.zeros([64, 64, 64, 64]))
  t.true(text.length < 500, text)
})

test('models show their tree, with equal blocks once', async t => {
  const model = await base()
  const text = inspect(model)
  t.true(text.startsWith('Model(LlamaForCausalLM: 156,224 parameters, 156,224 trainable, cpu, eval\n  (model): (\n    (embed_tokens): (weight [160, 64] f32 trainable)\n'), text)
  t.true(text.includes('      (0-3): 4 x (\n        (self_attn): (\n          (q_proj): (weight [64, 64] f32 trainable)\n'), text)
  t.deepEqual(JSON.parse(JSON.stringify(model)), { architecture: 'LlamaForCausalLM', nameOrPath: model.nameOrPath, device: 'cpu', parameters: 156224, trainable: 156224 })

  const peft = await Swift.prepareModel(await base(), new LoraConfig({ r: 2, targetModules: ['q_proj'], layersToTransform: [1] })) as PeftModel
  const tree = inspect(peft)
  t.regex(tree, /^PeftModel\(LlamaForCausalLM: .*, adapters default: LORA \(active\)\n/)
  t.regex(tree, /\(0\): \([^]*\(1\): \([^]*\(lora_A\): \(\n +\(default\): \(weight \[2, 64\] f32 trainable\)[^]*\(2-3\): 2 x \(/)
  const swift = await Swift.prepareModel(await base(), { a: lora(), b: lora() })
  swift.setActiveAdapters('a')
  t.regex(String(swift), /^SwiftModel\(LlamaForCausalLM: .*, adapters a: LORA \(active\), b: LORA\n/)
  swift.dispose()
  t.is(inspect(swift), 'SwiftModel(disposed)')
})

test('configurations show what is not as by default', t => {
  t.is(inspect(new LoraConfig({ r: 16, targetModules: ['q_proj'] })), 'LoraConfig({ targetModules: [ \'q_proj\' ], r: 16 })')
  t.is(String(new LoRAConfig()), 'LoRAConfig()')
  t.is(inspect(new PromptTuningConfig({ numVirtualTokens: 4 })), 'PromptTuningConfig({ numVirtualTokens: 4 })')
  t.is(inspect({ a: new LoraConfig({ loraAlpha: 3 }) }), '{ a: LoraConfig({ loraAlpha: 3 }) }')
})

test('optimizers show their groups, parameters their values', t => {
  const parameter = new Parameter('head.weight', Tensor.from([[1, 2], [3, 4]]))
  t.is(inspect(new AdamW([parameter])), 'AdamW(\n  group 0: 1 parameters, lr 0.001\n)')
  const groups = [{ params: [parameter], lr: 0.5, weightDecay: 0, rank: 1 }]
  t.is(String(new GaLoreAdamW(groups)), 'GaLoreAdamW(\n  group 0: 1 parameters, lr 0.5, weightDecay 0, rank 1\n)')
  t.regex(inspect(parameter), /^Parameter head\.weight: tensor\(\[\[1, 2\],\n/)
  t.is(JSON.stringify(parameter), '{"name":"head.weight","shape":[2,2]}')
})
