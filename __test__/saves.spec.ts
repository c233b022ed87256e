/** What saving and loading promise beside being whole or not at all. */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LoRAConfig, LoraConfig, type PeftModel, readSafetensors, Swift, type SwiftModel, Tensor, writeSafetensors } from '../index.js'
import { base, failsWith, fixtures, lora, logits, numbers, readJson, root, temp } from './support.js'

test('a folder keeps its mode', async t => {
  const model = await Swift.prepareModel(await base(), { a: lora() })
  const dir = join(temp(), 'shared')
  mkdirSync(dir)
  chmodSync(dir, 0o2770)
  await model.savePretrained(dir)
  t.is(statSync(dir).mode & 0o7777, 0o2770)
})

test('the folder that a process works in is filled and stays', t => {
  const dir = join(temp(), 'here')
  mkdirSync(dir)
  writeFileSync(join(dir, 'notes.txt'), 'mine')
  const script = `
    const { AutoModel, LoRAConfig, Swift } = require(${JSON.stringify(join(root, 'dist/index.js'))})
    ;(async () => {
      const model = await Swift.prepareModel(await AutoModel.fromPretrained(${JSON.stringify(join(root, '__test__/fixtures/models/llama'))}), { a: new LoRAConfig({ targetModules: ['q_proj'] }) })
      for (let i = 0; i < 2; i++) await model.savePretrained('.')
      console.log(process.cwd(), require('fs').readdirSync('.').sort().join(' '))
    })()`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', script], { cwd: dir, encoding: 'utf8' })
  t.is(status, 0, stderr)
  t.is(stdout.trim(), `${dir} README.md a configuration.json notes.txt`)
})

test('a reader beside a writer never meets two saves', async t => {
  const dir = join(temp(), 'moving')
  const filled = (value: number) => async () => {
    const model = await Swift.prepareModel(await base(), new LoraConfig({ r: 2, loraAlpha: value, targetModules: ['q_proj'] })) as PeftModel
    const state = Object.fromEntries(model.parameters().map(p => [p.name, Tensor.zeros(p.shape).add(Tensor.from([value]))]))
    model.loadStateDict(state, { strict: false })
    return model
  }
  const [one, two] = [await filled(1)(), await filled(2)()]
  await one.savePretrained(dir)
  const state = { writing: true }
  const writer = (async () => {
    for (let i = 0; i < 60; i++) await (i % 2 ? one : two).savePretrained(dir)
    state.writing = false
  })()
  const target = await base()
  for (let reads = 0; state.writing || reads < 10; reads++) {
    const loaded = await Swift.fromPretrained(target, dir, { adapterName: { default: `r${reads}` } }) as PeftModel
    const config = loaded.peftConfig.get(`r${reads}`)!.toJSON() as { lora_alpha: number }
    const name = loaded.namedParameters().find(p => p.name.endsWith(`lora_A.r${reads}.weight`))!.name
    t.is(numbers(loaded.parameter(name))[0], config.lora_alpha)
    loaded.deleteAdapter(`r${reads}`)
  }
  await writer
  t.deepEqual(readdirSync(join(dir, '..')), ['moving'])
})

test('files whose names differ in their ending only are written at once', async t => {
  const dir = temp()
  const names = ['w.a', 'w.b', 'run.1', 'run.2']
  for (let round = 0; round < 10; round++) {
    await Promise.all(names.map((name, i) => writeSafetensors(join(dir, name), { x: Tensor.from([i]) })))
    for (const [i, name] of names.entries()) t.deepEqual(numbers((await readSafetensors(join(dir, name))).x), [i])
  }
  t.deepEqual(readdirSync(dir).sort(), [...names].sort())
})

test('a header that does not begin with { is none', async t => {
  const file = join(temp(), 'x.safetensors')
  await writeSafetensors(file, { x: Tensor.from([1]) })
  const bytes = readFileSync(file)
  const size = Number(bytes.readBigUInt64LE(0))
  const header = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes.subarray(8, 8 + size)])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  writeFileSync(file, Buffer.concat([length, header, bytes.subarray(8 + size)]))
  await failsWith(t, 'ERR_CHECKPOINT_CORRUPT', () => readSafetensors(file))
})

test('names are free again when their adapters are merged and unloaded', async t => {
  let model = await base()
  const config = () => new LoRAConfig({ r: 2, targetModules: ['q_proj'], initLoraWeights: false })
  for (let round = 0; round < 3; round++) {
    const tuned = await Swift.prepareModel(model, { a: config(), b: config() }) as SwiftModel
    t.deepEqual([...tuned.activeAdapters], ['a', 'b'])
    const before = await logits(tuned)
    await Swift.mergeAndUnload(tuned)
    t.notDeepEqual(before, await logits(await base()))
    model = tuned
  }
})

const limited = process.platform === 'linux' ? test : test.skip
limited('memory that there is not is an error, and the process goes on', t => {
  const script = `
    const { Tensor } = require(${JSON.stringify(join(root, 'dist/index.js'))})
    try { Tensor.zeros([40000, 40000]) } catch (error) { console.log(error.code, Tensor.zeros([2]).shape.join()) }`
  const { stdout, stderr } = spawnSync('sh', ['-c', 'ulimit -v 5000000 && exec "$0" -e "$1"', process.execPath, script], { encoding: 'utf8' })
  t.is(stdout.trim(), 'ERR_OUT_OF_MEMORY 2', stderr)
})

test('widths that a file claims are compared with its weights before memory is taken', async t => {
  for (const [name, adapter, field] of [['side-llama-mlp', 'default', 'dim'], ['adapter-llama-mlp', 'default', 'adapter_length'], ['restuning-llama-res-adapter', 'res', 'dims']]) {
    const dir = temp()
    cpSync(join(fixtures, 'swift', name, 'checkpoint'), dir, { recursive: true })
    const file = join(dir, adapter, 'adapter_config.json')
    writeFileSync(file, JSON.stringify({ ...readJson(file), [field]: 1_000_000 }))
    const model = await base()
    const before = process.memoryUsage.rss()
    await failsWith(t, 'ERR_CHECKPOINT_MISMATCH', () => Swift.fromPretrained(model, dir))
    t.true(process.memoryUsage.rss() - before < 64 * 2 ** 20, name)
  }
})
