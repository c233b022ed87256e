/** A model as PyTorch prints it: the tree of its modules, with the shapes of their parameters. */

/** What of a model is shown. */
interface Shown {
  readonly device: string
  readonly training: boolean
  readonly native: { readonly architecture: string }
  namedModules(): string[]
  namedParameters(): { name: string; shape: number[]; dtype: string; requiresGrad: boolean; numel: number; quantization?: string }[]
  readonly activeAdapters?: readonly string[]
  readonly adapterTypes?: ReadonlyMap<string, string>
}

interface Part {
  readonly parts: Map<string, Part>
  /** Of the module itself: `weight [64, 64] f32`. */
  readonly parameters: string[]
}

/** Modules below which a tree is cut. */
const MOST_LINES = 200

/** The model's class, its size, its adapters and its tree. */
export function modelText(model: Shown): string {
  const parameters = model.namedParameters()
  const count = (list: { numel: number }[]) => list.reduce((n, p) => n + p.numel, 0).toLocaleString('en-US')
  const adapters = model.adapterTypes && [...model.adapterTypes].map(([name, type]) => `${name}: ${type}${model.activeAdapters?.includes(name) ? ' (active)' : ''}`)
  const facts = [
    `${count(parameters)} parameters`, `${count(parameters.filter(p => p.requiresGrad))} trainable`, model.device, model.training ? 'training' : 'eval',
    ...(adapters ? [adapters.length > 0 ? `adapters ${adapters.join(', ')}` : 'no adapters'] : []),
  ]
  const name = model.constructor.name
  const lines = treeLines(model.namedModules(), parameters)
  const shown = lines.length > MOST_LINES ? [...lines.slice(0, MOST_LINES), `  … ${lines.length - MOST_LINES} more lines`] : lines
  return `${name}(${model.native.architecture}: ${facts.join(', ')}\n${shown.join('\n')}\n)`
}

/** The lines of a model's tree. */
export const treeLines = (modules: string[], parameters: ReturnType<Shown['namedParameters']>): string[] => block(tree(modules, parameters), '  ')

function tree(modules: string[], parameters: ReturnType<Shown['namedParameters']>): Part {
  const root: Part = { parts: new Map(), parameters: [] }
  const at = (path: string[]): Part => path.reduce((part: Part, name) => {
    const found = part.parts.get(name) ?? { parts: new Map(), parameters: [] }
    part.parts.set(name, found)
    return found
  }, root)
  for (const name of modules) if (name !== '') at(name.split('.'))
  for (const { name, shape, dtype, requiresGrad, quantization } of parameters) {
    const path = name.split('.')
    const facts = `${path.pop()} [${shape.join(', ')}] ${quantization ?? dtype}${requiresGrad ? ' trainable' : ''}`
    at(path).parameters.push(facts)
  }
  return root
}

/** The lines of what is inside of a part; equal neighbours with numbers for names are one, as in PyTorch: `(0-3): 4 x (`. */
function block(part: Part, indent: string): string[] {
  const rows = [...part.parts].map(([name, inner]) => ({ first: name, last: name, times: 1, lines: whole(inner, indent) }))
  const joined: typeof rows = []
  for (const row of rows) {
    const before = joined.at(-1)
    const same = before && /^\d+$/.test(row.first) && Number(row.first) === Number(before.last) + 1 && before.lines.join('\n') === row.lines.join('\n')
    if (same) Object.assign(before, { last: row.last, times: before.times + 1 })
    else joined.push(row)
  }
  return joined.flatMap(({ first, last, times, lines }) => {
    const head = times > 1 ? `(${first}-${last}): ${times} x ` : `(${first}): `
    return [`${indent}${head}${lines[0]}`, ...lines.slice(1)]
  })
}

function whole(part: Part, indent: string): string[] {
  const own = part.parameters.join(', ')
  if (part.parts.size === 0) return [`(${own})`]
  return [`(${own}`, ...block(part, `${indent}  `), `${indent})`]
}
