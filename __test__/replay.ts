/**
 * Replays a reference case through the public API: base, tuned and deactivated logits, names, saving and loading, loss,
 * gradients, three AdamW steps, weighted sums, merging, unmerging, unloading. Life-cycle cases replay their calls one by one.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { Worker } from 'node:worker_threads'
import * as lib from '../index.js'
import { type Model, type ModelInputs, PeftModel, readSafetensors, Swift, SwiftModel, Tensor } from '../index.js'
import { base as loadBase, readJson, temp } from './support.js'

type Json = any // eslint-disable-line @typescript-eslint/no-explicit-any

/** What does not hold, in words; empty when the case holds. */
export type Problems = string[]

const camel = (s: string) => s.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase())

/** Default tolerances by group of keys; absolute, scaled by the expected magnitude where that exceeds 1. */
const TOLERANCE: Record<string, number> = { loss: 1e-4, grad: 1e-4, step3: 1e-3, merged: 1e-4 }

class Checks {
  readonly problems: Problems = []
  count = 0

  close(what: string, actual: Tensor | number[] | null | undefined, expected: Tensor, tolerance: number, keep?: boolean[]): void {
    this.count += 1
    if (!actual) return void this.problems.push(`${what}: missing`)
    const a = Array.isArray(actual) ? actual : Array.from(actual.dataSync() as Float32Array, Number)
    const e = Array.from(expected.dataSync() as Float32Array, Number)
    if (a.length !== e.length) return void this.problems.push(`${what}: ${a.length} values for ${e.length}`)
    const width = keep ? e.length / keep.length : 1
    let worst = 0
    let scale = 1
    for (let i = 0; i < e.length; i++) {
      if (keep && !keep[Math.floor(i / width)]) continue
      scale = Math.max(scale, Math.abs(e[i]))
      const d = Math.abs(a[i] - e[i])
      worst = Number.isNaN(d) ? Infinity : Math.max(worst, d)
    }
    if (!(worst <= tolerance * scale)) this.problems.push(`${what}: off by ${worst.toExponential(2)}, tolerance ${(tolerance * scale).toExponential(1)}`)
  }

  same(what: string, actual: unknown, expected: unknown): void {
    this.count += 1
    const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)]
    if (a !== e) this.problems.push(`${what}: ${a?.slice(0, 200)} for ${e?.slice(0, 200)}`)
  }

  that(what: string, ok: boolean): void {
    this.count += 1
    if (!ok) this.problems.push(what)
  }
}

async function inputsOf(dir: string, extra: Record<string, number[]> = {}): Promise<{ inputs: ModelInputs; rows: (expected: Tensor) => boolean[] | undefined }> {
  const inputs: Record<string, Tensor> = {}
  for (const [name, values] of Object.entries(extra)) inputs[camel(name)] = Tensor.from(values, undefined, { dtype: 'i64' })
  for (const [name, tensor] of Object.entries(await readSafetensors(join(dir, 'inputs.safetensors')))) inputs[camel(name)] = tensor
  const mask = inputs.attentionMask && Array.from(inputs.attentionMask.dataSync() as BigInt64Array, Number).map(Boolean)
  // Only positions with attention_mask 1 are worth comparing.
  const rows = (e: Tensor) => (mask && e.shape.slice(0, 2).reduce((a, b) => a * b, 1) === mask.length ? mask : undefined)
  return { inputs, rows }
}

/** Decoder inputs of an encoder-decoder are made from its labels. */
const withoutLabels = (inputs: ModelInputs, task?: string): ModelInputs =>
  ({ ...inputs, labels: task === 'seq2seq' ? inputs.labels : undefined, target: undefined })
const main = (o: lib.ModelOutput) => (o.logits ?? o.sample ?? o.lastHiddenState)!

/** The model's own loss, or the mean square of the output where it has none (plain encoders). */
async function lossOf(model: Model, inputs: ModelInputs): Promise<Tensor> {
  const o = await model.forward(inputs)
  return o.loss ?? main(o).sqr().mean()
}

export async function replayTuner(dir: string): Promise<{ problems: Problems; count: number }> {
  const c: Json = readJson(join(dir, 'case.json'))
  const expected = await readSafetensors(join(dir, 'expected.safetensors'))
  const { inputs, rows } = await inputsOf(dir, c.extra_forward ?? undefined)
  const checks = new Checks()
  const tolerances: Json = typeof c.tolerance === 'object' ? c.tolerance : { logits: c.tolerance }
  const tolerance = (group: string) => tolerances[group] ?? TOLERANCE[group] ?? tolerances.logits ?? 2e-5
  const want = (key: string): Tensor | undefined => expected[c.sane?.[key] ?? key]
  const logits = async (what: string, model: Model, key: string) => {
    const e = want(key)
    if (e) checks.close(what, main(await model.forward(withoutLabels(inputs, c.task))), e, tolerance('logits'), rows(e))
  }
  await logits('base', await loadBase(c.base), 'base.logits')

  const peft = c.api === 'peft'
  const adapterName = peft ? undefined : c.active
  /** `merged.logits` of PEFT cases are those of the checkpoint alone, also where Python keeps more in memory than it saves. */
  const load = async (memory = true) => {
    const model = await Swift.fromPretrained(await loadBase(c.base), join(dir, c.checkpoint), { adapterName, inferenceMode: false })
    for (const file of memory ? [c.trainable_file, c.classifier_file, 'weights.safetensors'] : []) {
      if (file && existsSync(join(dir, file))) model.loadStateDict(await readSafetensors(join(dir, file)), { strict: false })
    }
    if (model instanceof PeftModel) model.setAdapter(c.active)
    return model.eval()
  }
  const model = await load()
  await logits('tuned', model, 'tuned.logits')
  if (c.trainable_names) {
    const names = model.namedParameters().filter(p => p.requiresGrad).map(p => p.name)
    checks.same('trainable names', [...names].sort(), [...c.trainable_names].sort())
    if (!peft) checks.same('their order', names, c.trainable_names)
  }
  const reft = Object.values(c.adapters as Record<string, Json>).some(a => a.swift_type === 'reft')
  // Of ReFT Python counts the interventions alone, and its state_dict() raises.
  if (c.report && !reft) checks.same('report', model.getTrainableParameters(), c.report)
  for (const [name, keys] of Object.entries(typeof c.state_dict_keys === 'object' ? c.state_dict_keys : {})) {
    // Python saves no biases under lora_only and nothing of a merged linear; we do.
    const config = c.adapters[name]
    if (model instanceof SwiftModel && config.bias !== 'lora_only' && !config.use_merged_linear) {
      checks.same(`keys of ${name}`, model.adapterKeys(name).sort(), [...(keys as string[])].sort())
    }
  }
  if (want('deactivated.logits') && model instanceof SwiftModel) {
    model.setActiveAdapters([])
    await logits('deactivated', model, 'deactivated.logits')
    model.setActiveAdapters(c.active)
    await logits('activated again', model, 'tuned.logits')
  }

  for (const [i, adapterNames] of ((c.mixed_batches ?? []) as string[][]).entries()) {
    const e = want(`mixed.${i}.logits`)!
    const out = await model.forward({ ...withoutLabels(inputs, c.task), adapterNames })
    checks.close(`rows ${adapterNames.join()}`, main(out), e, tolerance('logits'), rows(e))
  }

  if (expected['alora.input_ids']) {
    const out = await model.forward({ inputIds: expected['alora.input_ids'] })
    checks.close('invoked', main(out), expected['alora.logits'], tolerance('logits'))
  }
  // What is trained is written for the weights from before its initialisation.
  if (existsSync(join(dir, 'trained'))) {
    const trained = await PeftModel.fromPretrained(await loadBase(c.base), join(dir, 'trained'))
    await logits('trained', trained.eval(), 'tuned.logits')
    const plain = temp()
    await trained.savePretrained(plain, { pathInitialModelForWeightConversion: join(dir, 'initial') })
    const restored = await PeftModel.fromPretrained(await loadBase(c.base), plain, { strict: true })
    await logits('restored', restored.eval(), 'converted.logits')
  }

  // Some initialisations depend on random numbers that no checkpoint holds.
  if (c.reloads !== false) {
    const saved = temp()
    await model.savePretrained(saved)
    const again = await Swift.fromPretrained(await loadBase(c.base), saved, { adapterName, inferenceMode: false, strict: true })
    if (again instanceof PeftModel) again.setAdapter(c.active)
    await logits('saved and loaded', again.eval(), 'tuned.logits')
  }

  if (want('loss')) {
    model.train(c.training_mode === 'train')
    if (want('penalty')) checks.close('penalty', (await model.forward(inputs)).adapterLoss, want('penalty')!, tolerance('loss'))
    const loss = await lossOf(model, inputs)
    checks.close('loss', [loss.item()], want('loss')!, tolerance('loss'))
    await loss.backward()
    for (const key of Object.keys(expected).filter(k => k.startsWith('grad.'))) {
      checks.close(key, model.gradient(key.slice(5)), expected[key], tolerance('grad'))
    }
    const optimizer = new lib.AdamW(model.parameters(), { lr: 1e-2, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01 })
    const losses: number[] = []
    for (let step = 0; want('step_losses') && step < 3; step++) {
      model.zeroGrad()
      const loss = await lossOf(model, inputs)
      losses.push(loss.item())
      await loss.backward()
      await optimizer.step()
    }
    if (losses.length) checks.close('step losses', losses, want('step_losses')!, tolerance('loss') * 10)
    const skip = new Set([...(c.step3_ill_conditioned ?? []), ...(c.no_grad_names ?? [])])
    for (const key of Object.keys(expected).filter(k => k.startsWith('step3.') && !skip.has(k.slice(6)))) {
      checks.close(key, model.parameter(key.slice(6)), expected[key], tolerance('step3'))
    }
  }

  for (const { name, adapters, weights } of (c.weighted ?? []) as { name: string; adapters: string[]; weights: number[] }[]) {
    const m = (await load()) as PeftModel
    await m.addWeightedAdapter({ adapters, weights, adapterName: name, combinationType: 'linear' })
    const e = want(`weighted.${name}.logits`)!
    checks.close(`weighted ${name}`, main(await m.forward(withoutLabels(inputs, c.task))), e, tolerance('weighted'), rows(e))
    const prefix = `weighted.${name}.`
    for (const key of Object.keys(expected).filter(k => k.startsWith(prefix) && !k.endsWith('.logits'))) {
      checks.close(key, m.parameter(`base_model.model.${key.slice(prefix.length)}.${name}`), expected[key], tolerance('weighted'))
    }
  }

  const merged = Object.keys(expected).filter(k => k.startsWith('merged.') && k !== 'merged.logits')
  if (!peft && want('merged.logits')) {
    const m = await load()
    await Swift.merge(m)
    await logits('merged', m, 'merged.logits')
    await Swift.unmerge(m)
    await logits('unmerged', m, 'unmerged.logits')
    await Swift.mergeAndUnload(m)
    await logits('merged and unloaded', m, 'merged_and_unloaded.logits')
    for (const key of merged) checks.close(key, m.baseModel.parameter(key.slice(7)), expected[key], tolerance('merged'))
  } else if (peft && (merged.length || want('merged.logits'))) {
    const m = (await load(false)) as PeftModel
    const plain = await m.mergeAndUnload()
    // Python's LN tuning leaves a saved module in its wrapper; here the copy takes the module's place.
    for (const key of merged.filter(k => !k.includes('.original_module.'))) {
      checks.close(key, plain.parameter(key.slice(7).replace('.modules_to_save.default', '')), expected[key], tolerance('merged'))
    }
    await logits('merged and unloaded', plain, 'merged.logits')
  }
  return { problems: checks.problems, count: checks.count }
}

function configOf(fields: Json): lib.SwiftConfig | lib.PeftConfig {
  return fields.swift_type ? lib.SwiftConfig.fromJSON(fields) : lib.PeftConfig.fromJSON(fields)
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(e => e.isFile())
    .map(e => relative(dir, join(e.parentPath, e.name)))
    .sort()
}

export async function replayLifecycle(dir: string): Promise<{ problems: Problems; count: number }> {
  const c: Json = readJson(join(dir, 'case.json'))
  const expected = await readSafetensors(join(dir, 'expected.safetensors'))
  const { inputs } = await inputsOf(dir)
  const checks = new Checks()
  const tolerance: number = typeof c.tolerance === 'number' ? c.tolerance : (c.tolerance?.logits ?? 2e-4)
  const out = temp()
  const folder = (name: string) => (existsSync(join(out, name)) ? join(out, name) : join(dir, name))
  let model: Json
  const threads = new Map<string, Thread>()
  const ops: Record<string, (s: Json) => unknown> = {
    base: async s => { model = await loadBase(s.model ?? c.base) },
    prepare: async s => {
      const configs = Object.fromEntries(Object.entries(s.configs).map(([k, v]) => [k, configOf(v)]))
      const alone = Object.keys(configs).length === 1 && configs.default instanceof lib.PeftConfig && configs.default
      model = await Swift.prepareModel(model, alone || (configs as Json), s.extra_state_keys ? { extraStateKeys: s.extra_state_keys } : {})
    },
    load_weights: async s => model.loadStateDict(await readSafetensors(join(dir, s.file)), { strict: false }),
    forward: async s => {
      model.train(Boolean(s.train))
      const got = main(await model.forward(withoutLabels(inputs)))
      const key = s.sane ?? s.logits
      if (typeof key === 'string' && expected[key]) checks.close(`${s.at}`, got, expected[key], tolerance)
    },
    forward_in_disable_adapter: async s => {
      const got = await model.withActiveAdapters([], () => model.forward(withoutLabels(inputs)))
      checks.close(`${s.at}`, main(got), expected[s.logits], tolerance)
    },
    set_active_adapters: s => model.setActiveAdapters(s.adapter_names, s.offload ? { offload: s.offload } : {}),
    set_adapter: s => model.setAdapter(s.name),
    activate_adapter: s => model.activateAdapter(s.adapter_name),
    deactivate_adapter: s => model.deactivateAdapter(s.adapter_name, s.offload ? { offload: s.offload } : {}),
    merge: s => Swift.merge(model, s.adapter_names ? { adapterNames: s.adapter_names } : {}),
    unmerge: () => Swift.unmerge(model),
    merge_and_unload: s => Swift.mergeAndUnload(model, s.adapter_name ? { adapterName: s.adapter_name } : {}),
    save_pretrained: async s => {
      const target = join(out, s.directory)
      await model.savePretrained(target, { adapterName: s.adapter_name, peftFormat: s.peft_format, safeSerialization: s.safe_serialization ?? true })
      if (s.files) checks.same(`${s.at} files`, filesBelow(target), s.files)
    },
    from_pretrained: async s => {
      model = await Swift.fromPretrained(model, folder(s.directory), { adapterName: s.adapter_name ?? undefined })
      if (s.class) checks.same(`${s.at} class`, model.constructor.name, s.class)
    },
    save_to_peft_format: async s => {
      const target = join(out, s.output_dir)
      await Swift.saveToPeftFormat(folder(s.ckpt_dir), target)
      if (s.files) checks.same(`${s.at} files`, filesBelow(target), s.files)
    },
    add_weighted_adapter: s => model.addWeightedAdapter({
      adapters: s.adapters, weights: s.weights, adapterName: s.adapter_name, combinationType: s.combination_type,
      svdRank: s.svd_rank, density: s.density, majoritySignMethod: s.majority_sign_method,
    }),
    config: s => {
      const json = model.adapters.get(s.adapter_name).toJSON()
      for (const field of ['r', 'lora_alpha']) checks.same(`${s.at} ${field}`, json[field], s[field])
      checks.same(`${s.at} target_modules`, [...json.target_modules].sort(), s.target_modules)
    },
    meta_parameters: s => {
      checks.same(s.at, model.namedParameters().filter((p: Json) => p.device === 'meta').map((p: Json) => p.name).sort(), [...s.meta].sort())
    },
    num_hidden_layers: s => checks.same(s.at, model.config.num_hidden_layers, s.value),
    state_dict_keys: s => {
      if (s.adapter_name && s.save_extra_states !== false) checks.same(s.at, model.adapterKeys(s.adapter_name).sort(), [...s.keys].sort())
    },
    trainable_names: s => {
      // Loading leaves tuners trainable in Python; here only with inferenceMode: false.
      if (s.at.startsWith('after load')) return
      checks.same(s.at, model.namedParameters().filter((p: Json) => p.requiresGrad).map((p: Json) => p.name), s.names)
    },
    get_trainable_parameters: s => checks.same(s.at, model.getTrainableParameters(), s.text),
    create_optimizer_param_groups: s => {
      const groups = model.createOptimizerParamGroups({ lr: s.lr, weightDecay: s.weight_decay })
      const plain = groups.map((g: Json) => ({ weight_decay: g.weightDecay, ...(g.lr === undefined ? {} : { lr: g.lr }), names: g.params.map((p: Json) => p.name) }))
      checks.same(s.at, plain, s.groups)
    },
    train: async s => {
      const optimizer = new lib.AdamW(model.parameters(), { lr: 1e-2, weightDecay: 0.01 })
      for (let i = 0; i < 3; i++) {
        model.zeroGrad()
        await (await lossOf(model, inputs)).backward()
        await optimizer.step()
      }
      const prefix = s.parameters?.replace('*', '')
      for (const key of Object.keys(expected).filter(k => prefix && k.startsWith(prefix))) {
        checks.close(`${s.at} ${key}`, model.parameter(key.slice(prefix.length)), expected[key], 1e-3)
      }
    },
  }
  let loaded = false
  for (const [i, step] of (c.steps as Json[]).entries()) {
    if (!ops[step.op]) continue
    if (step.op === 'base') loaded = false
    const s = { ...step, at: `${loaded && step.op === 'trainable_names' ? 'after load, ' : ''}step ${i} ${step.op}` }
    if (step.op === 'from_pretrained') loaded = true
    let error: Error | undefined
    try {
      if (s.thread) {
        if (!threads.has(s.thread)) threads.set(s.thread, new Thread(model, withoutLabels(inputs)))
        const got = await threads.get(s.thread)!.call(s)
        if (expected[s.logits]) checks.close(`${s.at} in thread ${s.thread}`, got!, expected[s.logits], tolerance)
        continue
      }
      await ops[s.op](s)
    } catch (e) {
      error = e as Error
    }
    const refused = s.sane?.raises ?? s.raises
    if (ACCEPTED.test(s.raises?.message ?? '')) {
      checks.that(`${s.at}: ${error}`, error === undefined)
    } else if (refused) {
      checks.that(`${s.at} is refused`, error !== undefined)
    } else if (error) {
      checks.problems.push(`${s.at}: ${error.message}`)
      break
    }
    if (!error && s.active && model.activeAdapters && !s.sane) checks.same(`${s.at} active`, [...model.activeAdapters].sort(), s.active)
  }
  await Promise.all([...threads.values()].map(t => t.end()))
  return { problems: checks.problems, count: checks.count }
}

/** A worker thread that makes calls on the same model (`worker.ts`). */
class Thread {
  readonly #worker: Worker

  constructor(model: Model, inputs: ModelInputs) {
    const plain: Record<string, number[][]> = {}
    for (const [name, value] of Object.entries(inputs)) {
      if (value === undefined) continue
      const t = value as Tensor
      const flat = Array.from(t.dataSync() as BigInt64Array, Number)
      plain[name] = Array.from({ length: t.shape[0] }, (_, i) => flat.slice(i * t.shape[1], (i + 1) * t.shape[1]))
    }
    this.#worker = new Worker(join(__dirname, 'worker.js'), { workerData: { handle: model.share(), inputs: plain } })
  }

  call(step: Json): Promise<number[] | undefined> {
    return new Promise((done, fail) => {
      this.#worker.once('error', fail)
      this.#worker.once('message', (m: Json) => (m.error ? fail(new Error(m.error)) : done(m.logits)))
      this.#worker.postMessage({ op: step.op, names: step.adapter_names ?? step.adapter_name })
    })
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}

/** What Python lacks and works here: spellings of dtypes, saving what is offloaded, loading what was converted. */
const ACCEPTED = /module 'torch' has no attribute '(fp32|fp16|bf16)'|Cannot copy out of meta|Mixed using with peft is not allowed now/
