/** An optimizer as PyTorch prints it: its kind and its groups. */

interface Group {
  readonly params?: readonly unknown[]
  readonly lr?: number
}

/** `AdamW(lr 0.001: 16 parameters; lr 0.016, weightDecay 0: 16 parameters)`, a line for each group. */
export function optimizerText(optimizer: { readonly paramGroups: readonly Group[]; readonly learningRate: number }): string {
  const lines = optimizer.paramGroups.map(({ params, ...settings }, i) => {
    const facts = Object.entries({ ...settings, lr: settings.lr ?? optimizer.learningRate }).filter(([, value]) => value !== undefined)
    return `  group ${i}: ${params?.length ?? 0} parameters, ${facts.map(([name, value]) => `${name} ${value}`).join(', ')}`
  })
  return `${optimizer.constructor.name}(\n${lines.join('\n')}\n)`
}
