/** `seed` gives the initial values that Python's seed gives (fixtures/init/make.py). */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { PeftConfig, readSafetensors, Swift, SwiftConfig } from '../index.js'
import { base, fixtures, readJson, temp } from './support.js'

interface Case {
  base: string
  seed: number
  /** By adapter. */
  configs: Record<string, Record<string, unknown>>
  shapes: Record<string, number[]>
}

async function prepared(c: Case) {
  const model = await base(c.base)
  const [[adapterName, config]] = Object.entries(c.configs)
  if (config.swift_type == null) return Swift.prepareModel(model, PeftConfig.fromJSON(config as never), { seed: c.seed, adapterName })
  const configs = Object.entries(c.configs).map(([name, json]) => [name, SwiftConfig.fromJSON(json as never)])
  return Swift.prepareModel(model, Object.fromEntries(configs) as Record<string, SwiftConfig>, { seed: c.seed })
}

async function saveAndRead(model: Awaited<ReturnType<typeof prepared>>) {
  const folder = temp()
  await model.savePretrained(folder)
  return readSafetensors(join(folder, 'default/adapter_model.safetensors'))
}

const folder = join(fixtures, 'init')
for (const name of readdirSync(folder).filter(f => f.endsWith('.json')).map(f => f.slice(0, -5)).sort()) {
  test.serial(`${name} starts as in Python`, async t => {
    const c: Case = readJson(join(folder, `${name}.json`))
    using model = await prepared(c)
    const expected = await readSafetensors(join(folder, `${name}.safetensors`))
    t.true(Object.keys(expected).length > 0)
    // The bases of ReFT's rotations are no parameters, and come out of a decomposition.
    const isBase = (key: string) => key.endsWith('.base')
    const saved = Object.keys(expected).some(isBase) ? await saveAndRead(model) : {}
    for (const [key, tensor] of Object.entries(expected)) {
      const parameter = isBase(key) ? saved[key.replace(/^base_model\./, '')] : model.parameter(key)
      t.deepEqual(parameter.shape, c.shapes[key], key)
      // Of large tensors the case has the first values.
      const [wanted, found] = [tensor.dataSync(), parameter.dataSync()]
      let worst = 0
      for (let i = 0; i < wanted.length; i++) {
        const [a, b] = [Number(found[i]), Number(wanted[i])]
        worst = Math.max(worst, Math.abs(a - b) / Math.max(1, Math.abs(b)))
      }
      t.true(worst <= (isBase(key) ? 1e-5 : 1e-6), `${key}: off by ${worst}`)
    }
  })
}
