/** Names and values that come from other libraries, or from a slip: what the error says. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  Adafactor, AdamW, AutoModel, AutoPeftModel, AutoTokenizer, createGaLoreParamGroups, type GaLoreConfig, getLayerStatus, hotswapAdapter, LoraConfig, LoraFA,
  Model, Muon, nn, Parameter, PeftConfig, PeftModel, SGD, snapshotDownload, Swift, type SwiftModel, Tensor, writeSafetensors,
} from '../index.js'
import { missingPackage } from '../src/native/select.js'
import { base, failsWith, fixtures, lora, root, temp } from './support.js'

const llama = join(fixtures, 'models/llama')
const adapter = join(fixtures, 'peft/basic/checkpoint')
const parameter = () => new Parameter('p', Tensor.from([[1, 2], [3, 4]]))
const tuned = async () => await Swift.prepareModel(await base(), new LoraConfig({ r: 2, targetModules: ['q_proj'] })) as PeftModel

test('options of other libraries are refused with what they are called here', async t => {
  const [model, peft] = [await base(), await tuned()]
  const swift: SwiftModel = await Swift.prepareModel(await base(), { a: lora() })
  const odd = (value: object) => value as never
  const cases: [() => unknown, string][] = [
    [() => AutoModel.fromPretrained(llama, odd({ torch_dtype: 'f32' })), 'AutoModel.fromPretrained: there is no option torch_dtype; did you mean dtype?'],
    [() => AutoModel.fromPretrained(llama, odd({ local_files_only: true })), 'no option local_files_only; did you mean localFilesOnly? (names are in camelCase)'],
    [() => AutoModel.fromPretrained(llama, odd({ load_in_4bit: true })), 'no option load_in_4bit; give quantization: \'nf4\''],
    [() => AutoModel.fromPretrained(llama, { dtype: odd('float32' as never) }), 'dtype: expected f64 or f32 or f16 or bf16 or auto, found "float32"; it is called f32 here'],
    [() => AutoModel.fromPretrained(llama, { dtype: odd('torch.float16' as never) }), 'it is called f16 here'],
    [() => AutoModel.fromPretrained(llama, { dtype: 'i64' }), 'dtype: expected f64 or f32 or f16 or bf16 or auto, found "i64"'],
    [() => AutoModel.fromPretrained(llama, { device: odd('gpu' as never) }), 'device: expected cpu, cuda or cuda:N, found "gpu"; it is called cuda here'],
    [() => AutoModel.fromPretrained(llama, { quantization: odd({ typ: 'nf4' }) }), 'quantization: there is no option typ; did you mean type?'],
    [() => AutoModel.fromPretrained(llama, { quantization: odd({}) }), 'quantization: type: missing'],
    [() => AutoModel.fromConfig({}, odd({ quantization: 'nf4' })), 'AutoModel.fromConfig: there is no option quantization; a model with fresh weights is not quantized'],
    [() => Swift.prepareModel(model, lora(), odd({ adapter_name: 'a' })), 'prepareModel: there is no option adapter_name; did you mean adapterName?'],
    [() => Swift.prepareModel(model, lora(), odd({ inference_mode: true })), 'did you mean inferenceMode?'],
    [() => Swift.prepareModel(model, lora(), { extraStateKeys: odd('a' as never) }), 'extraStateKeys: expected a list of which each is a string, found "a"'],
    [() => Swift.fromPretrained(model, adapter, odd({ isTrainable: true })), 'inferenceMode: false leaves the tuners trainable'],
    [() => PeftModel.fromPretrained(model, adapter, odd({ inferenceMode: false })), 'isTrainable: true loads an adapter that trains'],
    [() => Swift.merge(peft, odd({ adapter_names: [] })), 'did you mean adapterNames?'],
    [() => peft.savePretrained('x', odd({ safe_serialization: true })), 'did you mean safeSerialization?'],
    [() => peft.savePretrained('x', { maxShardSize: '5 apples' }), 'maxShardSize: expected bytes or a size like \'300MB\', found "5 apples"'],
    [() => peft.mergeAndUnload(odd({ safe_merge: true })), 'did you mean safeMerge?'],
    [() => peft.addAdapter('b', new LoraConfig(), odd({ sead: 1 })), 'did you mean seed?'],
    [() => peft.addWeightedAdapter(odd({ adapters: ['default'], weights: [1] })), 'addWeightedAdapter: adapterName: missing'],
    [() => peft.createOptimizerParamGroups(odd({ lr: 1 })), 'createOptimizerParamGroups: weightDecay: missing'],
    [() => peft.createOptimizerParamGroups(undefined as never), 'createOptimizerParamGroups: expected an object of options, found undefined'],
    [() => hotswapAdapter(peft, adapter, 'default', odd({ is_trainable: true })), 'did you mean isTrainable?'],
    [() => swift.setActiveAdapters('a', odd({ offload: 'disk' })), 'offload: expected cpu or meta, found "disk"'],
    [() => model.forward({ inputIds: [[1]] }, odd({ noGrad: true })), 'forward: there is no option noGrad; did you mean grad?'],
    [() => model.loadStateDict({}, odd({ strickt: true })), 'did you mean strict?'],
    [() => new AdamW([parameter()], odd({ learningRate: 1 })), 'AdamW: there is no option learningRate; it is called lr'],
    [() => new AdamW([parameter()], odd({ weight_decay: 1 })), 'did you mean weightDecay? (names are in camelCase)'],
    [() => new AdamW([parameter()], odd({ amsgrad: true })), 'AdamW: there is no option amsgrad; it is not supported'],
    [() => new AdamW([parameter()], { lr: -1 }), 'AdamW: lr: expected a number from 0 on, found -1'],
    [() => new AdamW([parameter()], { betas: odd([0.9] as never) }), 'betas: expected two numbers from 0 on and below 1, found [0.9]'],
    [() => new AdamW([odd({ params: [parameter()], learning_rate: 1 })]), 'AdamW: group 0: there is no option learning_rate; it is called lr'],
    [() => new SGD([parameter()], odd({ momentun: 1 })), 'SGD: there is no option momentun; did you mean momentum?'],
    [() => new Adafactor([parameter()], odd({ scale_parameter: true })), 'did you mean scaleParameter?'],
    [() => new Muon([parameter()], { adjustLrFn: odd('match' as never) }), 'adjustLrFn: expected original or match_rms_adamw or spectral_unclamped'],
    [() => createGaLoreParamGroups(model, odd({ gap: 3 } as GaLoreConfig), { lr: 1 }), 'createGaLoreParamGroups: config: there is no option gap'],
    [() => createGaLoreParamGroups(model, {}, odd({ learning_rate: 1 })), 'it is called lr'],
    [() => nn.linear(2, 2, odd({ biass: false })), 'nn.linear: there is no option biass; did you mean bias?'],
    [() => Tensor.zeros([2], odd({ dtyp: 'f32' })), 'did you mean dtype?'],
    [() => Tensor.zeros([2], { dtype: odd('float' as never) }), 'it is called f32 here'],
    [() => snapshotDownload('a/b', odd({ cache_dir: 'x' })), 'did you mean cacheDirectory?'],
    [() => AutoTokenizer.fromPretrained(llama, odd({ use_fast: true })), 'AutoTokenizer.fromPretrained: there is no option use_fast'],
    [() => AutoPeftModel.fromPretrained(adapter, odd({ adaptername: 'a' })), 'AutoPeftModel.fromPretrained: there is no option adaptername; did you mean adapterName?'],
    [() => new LoraConfig(odd({ loraAlfa: 1 })), 'loraAlfa: LoraConfig has no such field; the nearest is loraAlpha'],
    [() => new LoraConfig(odd({ lora_alpha: 1 })), 'there is no field lora_alpha; did you mean loraAlpha? (names are in camelCase'],
    [() => new LoraConfig({ loraDropout: 3 }), 'loraDropout: expected a probability below 1, found 3'],
    [() => new LoraConfig({ r: Symbol('r') as never }), 'adapter config: r: a symbol cannot be saved'],
    [() => new LoraConfig({ loraAlpha: NaN }), 'adapter config: lora_alpha: NaN cannot be saved'],
  ]
  for (const [call, text] of cases) {
    const { message } = await failsWith(t, 'ERR_INVALID_CONFIG', call)
    t.true(message.includes(text), message)
  }
})

test('arguments are refused before anything native sees them', async t => {
  const model = await base()
  const odd = (value: unknown) => value as never
  const cases: [() => unknown, string][] = [
    [() => Swift.prepareModel(odd(3), lora()), 'prepareModel: model: expected a Model, found 3'],
    [() => Swift.prepareModel(model, odd('lora')), 'prepareModel: config: expected a configuration, or an object of them by name, found "lora"'],
    [() => PeftModel.fromPretrained(odd(Promise.resolve(model)), adapter), 'PeftModel.fromPretrained: model: expected a Model, found an object (Promise)'],
    [() => Swift.merge(odd(model)), 'merge: model: expected a SwiftModel or a PeftModel, found an object (Model)'],
    [() => getLayerStatus(odd(model)), 'getLayerStatus: model: expected a PeftModel'],
    [() => Model.fromHandle(odd({})), 'fromHandle: handle.swiftTunersModel: expected a string that is not empty, found undefined'],
    [() => new AdamW(odd(model)), 'AdamW: params: expected Parameters, as model.parameters() gives them, or groups of them, found an object (Model)'],
    [() => new LoraFA(odd([])), 'LoraFA: model: expected a Model, found []'],
    [() => new Parameter('x', odd([1])), 'Parameter: value: expected a Tensor, found [1]'],
    [() => new (Tensor as never as new (v: number) => Tensor)(3), 'Tensor: it cannot be made by hand; Tensor.from makes one of numbers'],
    [() => Tensor.from([1]).narrow(0, 2 ** 32, 1), 'narrow: start: expected a size, an integer from 0 on, found 4294967296'],
    [() => Tensor.zeros([2 ** 32 + 3]), 'Tensor.zeros: shape: expected a shape'],
    [() => Tensor.from([1]).add(odd('1')), 'add: other: expected a Tensor, or a number, found "1"'],
    [() => Tensor.from([1]).reshape(1.5), 'reshape: shape: expected a shape'],
    [() => model.setRequiresGrad('lm_head.weight', odd('yes')), 'setRequiresGrad: on: expected true or false, found "yes"'],
    [() => model.forward(odd([1])), 'model inputs: inputs: expected an object of inputs by name, found [1]'],
    [() => writeSafetensors('x', odd({ a: [1] })), 'writeSafetensors: state: expected an object of Tensors by name'],
    [() => writeSafetensors('x', {}, odd({ a: 1 })), 'writeSafetensors: metadata: expected an object of which each value is a string'],
    [() => PeftConfig.fromJSON(odd([])), 'PeftConfig.fromJSON: json: expected an object, found []'],
    [() => AutoModel.fromPretrained(odd(undefined)), 'AutoModel.fromPretrained: directory or hub id: expected a path, found undefined'],
  ]
  for (const [call, text] of cases) {
    const { message } = await failsWith(t, 'ERR_INVALID_ARGUMENT', call)
    t.true(message.startsWith(text), message)
  }
  t.is(new LoraConfig().r, 8)
})

test('a folder that is not there, or is an adapter, is said to be so', async t => {
  const nowhere = { localFilesOnly: true, cacheDirectory: temp() }
  const typo = await failsWith(t, 'ERR_HUB', () => AutoModel.fromPretrained('models/lama', nowhere))
  t.true(typo.message.startsWith(`models/lama: there is no such local folder (in ${process.cwd()}), and as a hub id: models/lama: not in the cache`), typo.message)
  const peft = await failsWith(t, 'ERR_UNSUPPORTED_MODEL', () => AutoModel.fromPretrained(adapter))
  t.regex(peft.message, /this is an adapter and no model; load it with PeftModel\.fromPretrained\(.*AutoPeftModel\.fromPretrained/)
  const swift = await Swift.prepareModel(await base(), { a: lora() })
  const folder = temp()
  await swift.savePretrained(folder)
  t.regex((await failsWith(t, 'ERR_UNSUPPORTED_MODEL', () => AutoModel.fromPretrained(join(folder, 'a')))).message, /Swift\.fromPretrained\(/)
  mkdirSync(join(folder, 'empty'))
  await failsWith(t, 'ERR_IO', () => AutoModel.fromPretrained(join(folder, 'empty')))
})

test('a platform package that is missing is named in one sentence', t => {
  const never = () => false
  t.regex(missingPackage('linux-x64-gnu', never, never)!, /^the package swift-tuners-linux-x64-gnu is missing.*`npm install swift-tuners-linux-x64-gnu`/)
  t.regex(missingPackage('aix-ppc64', never, never)!, /has no build for this platform, aix-ppc64; there are linux-x64-gnu/)
  t.is(missingPackage('linux-x64-gnu', file => file === 'swift-tuners.linux-x64-gnu.node', never), undefined)
  t.is(missingPackage('darwin-arm64', never, path => path === 'swift-tuners-darwin-arm64/swift-tuners.darwin-arm64.node'), undefined)
  const copy = temp()
  cpSync(join(root, 'dist'), copy, { recursive: true, filter: file => !/\.node$|__test__|examples|bench/.test(file.slice(root.length)) })
  const { NAPI_RS_NATIVE_LIBRARY_PATH: _, ...env } = process.env
  const { stderr } = spawnSync(process.execPath, ['-e', `try { require(${JSON.stringify(join(copy, 'index.js'))}) } catch (e) { console.error(e.code + ': ' + e.message) }`], { env, encoding: 'utf8' })
  t.regex(stderr, /^ERR_IO: (the package swift-tuners-\S+ is missing|swift-tuners has no build).*\n$/)
})
