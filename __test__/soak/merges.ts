/** LoRAs that go into the weights and out again: the base is as it was, bit for bit. */
import { join } from 'node:path'
import { AutoModel, type DType, type Model, Swift } from '../../index.js'
import { fixtures, lora } from '../support.js'
import { count, must, program } from './program.js'
import { rounds } from './resident.js'

/** All weights of the base, as bytes. */
const bits = (model: Model) => Buffer.concat(model.namedParameters().filter(p => !p.name.includes('lora_')).map(p => {
  const { buffer, byteOffset, byteLength } = model.parameter(p.name).dataSync() as Float32Array
  return Buffer.from(buffer, byteOffset, byteLength)
}))

program(async () => {
  for (const dtype of ['f32', 'f16', 'bf16'] satisfies DType[]) {
    const model = await Swift.prepareModel(await AutoModel.fromPretrained(join(fixtures, 'models/llama'), { dtype }), { a: lora(), b: lora({ targetModules: 'all-linear' }) })
    const before = bits(model)
    let merged = Buffer.alloc(0)
    await rounds(`merge and unmerge in ${dtype}`, count(1000, 20), async round => {
      await Swift.merge(model)
      if (round === 0) merged = bits(model)
      await Swift.unmerge(model)
      if (round % 100 === 0) must(bits(model).equals(before), `${dtype}: the base has changed in round ${round}`)
    }, { growth: 16, slope: 4 })
    must(!merged.equals(before), `${dtype}: merging changed nothing`)
    must(bits(model).equals(before), `${dtype}: the base has changed`)
  }
})
