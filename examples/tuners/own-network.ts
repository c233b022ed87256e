/** Tuners on a network of one's own: modules by name, trained on one style of images, then a LoRA and an adapter for another. */
import { AdamW, AdapterConfig, AutoModel, LoRAConfig, type Model, nn, Swift, type SwiftModel } from '../../index.js'
import { type Learned, whenRun } from '../support/fit.js'
import { shapes, type Style } from '../support/shapes.js'

/** The module has a loss of the caller's own. */
async function learn(model: Model, steps: number, style: Style, lr: number): Promise<number[]> {
  const optimizer = new AdamW(model.parameters(), { lr })
  const losses: number[] = []
  for (let step = 0; step < steps; step++) {
    const { images, labels } = shapes(16, 50 + step, style)
    optimizer.zeroGrad()
    const loss = (await model.forward({ input: images })).logits!.crossEntropy(labels)
    losses.push(loss.item())
    await loss.backward()
    await optimizer.step()
  }
  return losses
}

export async function main(steps = 60): Promise<Learned> {
  const base = await AutoModel.fromModules(nn.sequential({
    stem: nn.conv2d(3, 16, 3, { stride: 2, padding: 1 }), norm: nn.groupNorm(4, 16), act: nn.silu(),
    blocks: nn.moduleList([0, 1].map(() => nn.residual({ conv: nn.conv2d(16, 16, 3, { padding: 1 }), act: nn.silu() }))),
    down: nn.conv2d(16, 32, 3, { stride: 2, padding: 1 }), pool: nn.globalAveragePool(), flat: nn.flatten(), hidden: nn.linear(32, 32), relu: nn.relu(),
    head: nn.linear(32, 4),
  }), { seed: 1 })
  await learn(base, steps, 'ink', 3e-3)
  const model: SwiftModel = await Swift.prepareModel(base, {
    lora: new LoRAConfig({ r: 4, targetModules: ['stem', 'conv', 'head'] }),
    adapter: new AdapterConfig({ dim: 32, targetModules: ['relu'], adapterLength: 8 }),
  })
  const losses = await learn(model, steps, 'chalk', 1e-2)
  const few = Math.max(1, Math.floor(steps / 5))
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length
  const learned = { before: mean(losses.slice(0, few)), after: mean(losses.slice(-few)) }
  console.log(`own network: ${model.getTrainableParameters()}; loss ${learned.before.toFixed(4)} → ${learned.after.toFixed(4)}`)
  return learned
}
whenRun(module, main)
