/** A tensor as PyTorch prints it: of large ones the edges only. */

/** What of a tensor is shown. */
interface Shown {
  readonly shape: number[]
  readonly dtype: string
  readonly device: string
  readonly requiresGrad: boolean
  detach(): Shown
  narrow(dim: number, start: number, length: number): Shown
  dataSync(): ArrayLike<number | bigint>
}

/** Up to so many values all are shown, and else so many at each edge. PyTorch's are 1000 and 3. */
const ALL = 100
const EDGE = 3

/** `tensor([[1, 2], [3, 4]], shape=[2, 2], dtype=f32, device=cpu)` */
export function tensorText(tensor: Shown): string {
  const { shape, dtype, device, requiresGrad } = tensor
  const facts = `shape=[${shape.join(', ')}], dtype=${dtype}, device=${device}${requiresGrad ? ', requiresGrad' : ''}`
  const count = shape.reduce((n, size) => n * size, 1)
  if (count === 0) return `tensor([], ${facts})`
  const edge = count <= ALL ? Infinity : shape.length <= 3 ? EDGE : 1
  return `tensor(${level(tensor.detach(), shape, 0, edge, ' '.repeat('tensor('.length))}, ${facts})`
}

/** The values of `part` from dimension `depth` on; the sizes before it are 1. */
function level(part: Shown, shape: number[], depth: number, edge: number, indent: string): string {
  if (depth === shape.length) return numberText(part.dataSync()[0])
  const size = shape[depth]
  const cut = size > 2 * edge
  const last = depth === shape.length - 1
  const places = cut ? [...span(0, edge), undefined, ...span(size - edge, edge)] : span(0, size)
  const row = last && !cut ? Array.from(part.dataSync(), numberText) : undefined
  const texts = places.map((at, i) =>
    at === undefined ? '…' : row ? row[i] : level(part.narrow(depth, at, 1), shape, depth + 1, edge, `${indent} `))
  return `[${texts.join(last ? ', ' : `,${'\n'.repeat(shape.length - 1 - depth)}${indent} `)}]`
}

const span = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)

/** Four digits behind the point, as PyTorch has them. */
function numberText(value: number | bigint): string {
  if (typeof value === 'bigint' || Number.isInteger(value) || !Number.isFinite(value)) return String(value)
  const size = Math.abs(value)
  return size >= 1e5 || size < 1e-4 ? value.toExponential(4) : String(Number(value.toFixed(4)))
}
