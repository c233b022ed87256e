import { join } from 'node:path'
import test from 'ava'
import { AdamW, Parameter, readSafetensors, Swift, SwiftTunersError, Tensor, writeSafetensors } from '../index.js'
import { base, failsWith, gap, IDS, lora, numbers, temp } from './support.js'

test('operations give PyTorch\'s values', t => {
  const a = Tensor.from([[1, -2, 3], [4, 5, -6]])
  const b = Tensor.from([10, 20, 30])
  t.deepEqual(numbers(a.add(b)), [11, 18, 33, 14, 25, 24])
  t.deepEqual(numbers(a.sub(1).mul(2)), [0, -6, 4, 6, 8, -14])
  t.deepEqual(numbers(a.matmul(b.unsqueeze(1))), [60, -40])
  t.deepEqual(a.transpose(0, 1).shape, [3, 2])
  t.deepEqual(a.reshape(-1).shape, [6])
  t.deepEqual(numbers(a.sum(0)), [5, 3, -3])
  t.true(gap(numbers(a.mean([0, 1])), [5 / 6]) < 1e-6)
  t.deepEqual(numbers(a.max(1)), [3, 5])
  t.deepEqual(Array.from(a.argmax(1).dataSync() as BigInt64Array), [2n, 1n])
  t.deepEqual(numbers(a.narrow(1, 1, 2)), [-2, 3, 5, -6])
  t.deepEqual(numbers(a.indexSelect(1, Tensor.from([2, 0], undefined, { dtype: 'i64' }))), [3, 1, -6, 4])
  t.deepEqual(numbers(a.gather(1, Tensor.from([[2], [0]], undefined, { dtype: 'i64' }))), [3, 4])
  t.deepEqual(Tensor.stack([a, a]).shape, [2, 2, 3])
  t.deepEqual(Tensor.cat([a, a], 1).shape, [2, 6])
  t.true(gap(numbers(Tensor.from([0, 1, -1]).gelu()), [0, 0.841345, -0.158655]) < 1e-6)
  t.true(gap(numbers(Tensor.from([[1, 2, 3]]).softmax(-1)), [0.0900306, 0.244728, 0.665241]) < 1e-6)
  t.true(Math.abs(Tensor.from([[1, 2, 3]]).crossEntropy([0]).item() - 2.4076059) < 1e-6)
})

test('gradients of tensor programs equal difference quotients', async t => {
  const values = [0.3, -0.7, 1.2, 0.5, -0.1, 0.9]
  const program = (x: Tensor) => {
    const h = x.matmul(Tensor.from([[0.2, -0.4], [0.5, 0.1], [-0.3, 0.8]])).tanh()
    const y = Tensor.cat([h, x.narrow(1, 0, 1).sigmoid()], 1).gelu().softmax(1)
    return y.mul(Tensor.from([[1, -2, 3]])).sqr().mean().add(x.exp().log().abs().sum().mul(0.1)).add(x.crossEntropy([2, 0]))
  }
  const parameter = new Parameter('x', Tensor.from(values, [2, 3]))
  await program(parameter.value).backward()
  const grad = numbers(parameter.grad!)
  const h = 1e-3
  for (let i = 0; i < values.length; i++) {
    const at = (d: number) => program(Tensor.from(values.map((v, j) => (j === i ? v + d : v)), [2, 3])).item()
    t.true(Math.abs(grad[i] - (at(h) - at(-h)) / (2 * h)) < 2e-3, `element ${i}`)
  }
})

test('a head written in TypeScript trains together with a LoRA', async t => {
  const model = await Swift.prepareModel(await base('bert'), { a: lora({ targetModules: ['query', 'value'], initLoraWeights: true }) })
  const weight = new Parameter('head.weight', Tensor.zeros([3, 64]))
  const optimizer = new AdamW([...model.parameters(), weight], { lr: 0.02, weightDecay: 0 })
  const labels = [2, 0]
  const loss = async () => {
    const { lastHiddenState } = await model.forward({ inputIds: IDS })
    return lastHiddenState!.mean(1).matmul(weight.value.transpose(0, 1)).crossEntropy(labels)
  }
  const first = (await loss()).item()
  for (let i = 0; i < 8; i++) {
    optimizer.zeroGrad()
    await (await loss()).backward()
    await optimizer.step()
  }
  t.true(Math.abs(first - Math.log(3)) < 1e-5)
  t.true((await loss()).item() < 0.5 * first)
  t.true(model.parameters().every(p => p.grad !== null))
})

test('backward twice over one graph, and from nothing trainable, are errors', async t => {
  const p = new Parameter('p', Tensor.from([1, 2]))
  const loss = p.value.sqr().sum()
  await loss.backward()
  t.deepEqual(numbers(p.grad!), [2, 4])
  await failsWith(t, 'ERR_INVALID_STATE', () => loss.backward())
  await failsWith(t, 'ERR_INVALID_STATE', () => Tensor.from([1]).sum().backward())
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => p.value.backward())
})

test('shapes that do not fit are errors, not crashes', async t => {
  const a = Tensor.from([[1, 2], [3, 4]])
  for (const call of [
    () => a.add(Tensor.from([1, 2, 3])), () => a.matmul(Tensor.from([[1, 2, 3]])), () => a.reshape(3), () => a.narrow(0, 1, 5),
    () => a.narrow(7, 0, 1), () => a.indexSelect(0, Tensor.from([5], undefined, { dtype: 'i64' })), () => a.sum(4), () => a.item(),
    () => Tensor.from([1, 2], [3]), () => Tensor.cat([]), () => Tensor.zeros([1e9, 1e9]), () => a.crossEntropy([0, 9]),
  ]) {
    const error = await t.throwsAsync<SwiftTunersError>(async () => call())
    t.true(['ERR_SHAPE', 'ERR_INVALID_ARGUMENT', 'ERR_OUT_OF_MEMORY'].includes(error!.code), error!.message)
  }
})

test('safetensors files keep names, types and values', async t => {
  const file = join(temp(), 'x.safetensors')
  const tensors = { a: Tensor.from([[1.5, -2]]), __proto__x: Tensor.from(BigInt64Array.from([1n, -5n])), h: Tensor.from([0.1]).toDtype('bf16') }
  await writeSafetensors(file, tensors)
  const back = await readSafetensors(file)
  t.deepEqual(Object.keys(back).sort(), Object.keys(tensors).sort())
  for (const [name, tensor] of Object.entries(tensors)) {
    t.is(back[name].dtype, tensor.dtype)
    t.deepEqual(back[name].dataSync(), tensor.dataSync())
  }
})
