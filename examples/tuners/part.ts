/** Part: full training of chosen modules, on copies that belong to the adapter; here together with a LoRA, then switched by request. */
import { AdamW, LoRAConfig, PartConfig, Swift } from '../../index.js'
import { fit, toolCalls, whenRun } from '../support/fit.js'

export async function main(steps = 60) {
  const { model: base, train } = await toolCalls(steps)
  const model = await Swift.prepareModel(base, {
    part: new PartConfig({ targetModules: 'model\\.layers\\.3\\.mlp\\.(up|down)_proj' }),
    lora: new LoRAConfig({ r: 4, targetModules: ['q_proj', 'v_proj'] }),
  })
  const learned = await fit('Part and LoRA', model, train, new AdamW(model.parameters(), { lr: 2e-3 }))
  const lossWith = (names: string[]) => model.withActiveAdapters(names, async () => (await model.forward(train[0])).loss!.item())
  const [both, part, lora, none] = await Promise.all([lossWith(['part', 'lora']), lossWith(['part']), lossWith(['lora']), lossWith([])])
  console.log(`  both ${both.toFixed(3)}, part alone ${part.toFixed(3)}, lora alone ${lora.toFixed(3)}, neither ${none.toFixed(3)}`)
  return learned
}
whenRun(module, main)
