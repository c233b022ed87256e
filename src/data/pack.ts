/** Rows put together into rows of one length, of which none sees the others. */
import { checkArgument, checkOptions, integer, oneOf, type OptionTable, requireOptions } from '../options.js'
import { type Encoded, encodedRows, IGNORE } from './encoded.js'

/** Several rows as one. */
export interface Packed extends Encoded {
  /** From 0 in each of the rows. */
  positionIds: number[]
  /** How many tokens each of them has. */
  seqLengths: number[]
}

/** How rows are put together. */
export interface PackOptions {
  /** Tokens of a packed row, at most. */
  size: number
  /**
   * `bfd` (TRL's default): longest first, each where the least room is left; longer rows are cut. `bfd-split`: the same, cut rows into pieces.
   * `wrapped`: one after the other, cut every `size` tokens. `binpack` (ms-swift's): longest first, each where the most room is left.
   * `sequential`: in their order, while they fit. The last two leave longer rows as they are. Default bfd.
   */
  strategy?: 'bfd' | 'bfd-split' | 'wrapped' | 'binpack' | 'sequential'
}

const size = integer({ min: 1, max: 2 ** 24 })
export const PACK: OptionTable<PackOptions> = { size, strategy: oneOf('bfd', 'bfd-split', 'wrapped', 'binpack', 'sequential') }

/** Tokens `from` to `to` of a row. */
interface Piece {
  row: number
  from: number
  to: number
}
type Bin = Piece[]

/**
 * Packs rows. Positions start again with each, its first label never counts (the token before it is another row's), and `seqLengths` says where
 * attention ends. Rows without tokens are left out.
 */
export function packRows(rows: Encoded[], options: PackOptions): Packed[] {
  checkArgument('packRows', 'rows', rows, encodedRows)
  const checked = checkOptions('packRows', options, PACK)
  requireOptions('packRows', checked, 'size')
  return packed(rows, checked)
}

/** Packs rows that are known to be some. */
export function packed(rows: Encoded[], { size, strategy = 'bfd' }: PackOptions): Packed[] {
  const lengths = rows.map(({ inputIds }) => inputIds.length)
  const scaled = rows.some(({ lossScale }) => lossScale !== undefined)
  return STRATEGIES[strategy](lengths, size).filter(bin => bin.length > 0).map(bin => join(rows, bin, scaled))
}

function join(rows: Encoded[], bin: Bin, scaled: boolean): Packed {
  const out: Packed = { inputIds: [], labels: [], positionIds: [], seqLengths: [] }
  if (scaled) out.lossScale = []
  for (const { row, from, to } of bin) {
    const { inputIds, labels, lossScale } = rows[row]
    for (let i = from; i < to; i++) {
      out.inputIds.push(inputIds[i])
      out.labels.push(i === from ? IGNORE : labels[i])
      out.positionIds.push(i - from)
      out.lossScale?.push(i === from ? 0 : lossScale?.[i] ?? 1)
    }
    out.seqLengths.push(to - from)
  }
  return out
}

const STRATEGIES: Record<NonNullable<PackOptions['strategy']>, (lengths: number[], size: number) => Bin[]> = {
  bfd: (lengths, size) => bestFit(lengths.flatMap((n, row) => (n > 0 ? [{ row, from: 0, to: Math.min(n, size) }] : [])), size),
  'bfd-split': (lengths, size) => bestFit(lengths.flatMap((n, row) =>
    Array.from({ length: Math.ceil(n / size) }, (_, k) => ({ row, from: k * size, to: Math.min((k + 1) * size, n) }))), size),
  wrapped,
  binpack,
  sequential,
}

/** Best fit, longest first: each piece where the least room is left, among equals in the bin that came to that room first. */
function bestFit(pieces: Piece[], size: number): Bin[] {
  const bins: Bin[] = []
  const byRoom = new Rooms(size)
  for (const piece of pieces.toSorted((a, b) => (b.to - b.from) - (a.to - a.from))) {
    const length = piece.to - piece.from
    const room = byRoom.least(length) ?? size
    const bin = room < size ? byRoom.take(room) : []
    if (room === size) bins.push(bin)
    bin.push(piece)
    if (room > length) byRoom.add(room - length, bin)
  }
  return bins
}

/** Bins by the room that is left in them, with a bit for each room that there is. */
class Rooms {
  readonly #bits: Uint32Array
  readonly #queues = new Map<number, { bins: Bin[]; next: number }>()

  constructor(size: number) {
    this.#bits = new Uint32Array((size >>> 5) + 1)
  }

  /** The least room from `length` on. */
  least(length: number): number | undefined {
    let word = length >>> 5
    let bits = this.#bits[word] & (-1 << (length & 31))
    while (bits === 0 && ++word < this.#bits.length) bits = this.#bits[word]
    return bits === 0 || word >= this.#bits.length ? undefined : word * 32 + 31 - Math.clz32(bits & -bits)
  }

  take(room: number): Bin {
    const queue = this.#queues.get(room)!
    const bin = queue.bins[queue.next++]
    if (queue.next === queue.bins.length) {
      this.#queues.delete(room)
      this.#bits[room >>> 5] &= ~(1 << (room & 31))
    }
    return bin
  }

  add(room: number, bin: Bin): void {
    const queue = this.#queues.get(room)
    if (queue) return void queue.bins.push(bin)
    this.#queues.set(room, { bins: [bin], next: 0 })
    this.#bits[room >>> 5] |= 1 << (room & 31)
  }
}

function wrapped(lengths: number[], size: number): Bin[] {
  const bins: Bin[] = []
  let left = 0
  for (const [row, n] of lengths.entries()) {
    for (let from = 0; from < n;) {
      if (left === 0) {
        bins.push([])
        left = size
      }
      const to = Math.min(n, from + left)
      bins.at(-1)!.push({ row, from, to })
      left -= to - from
      from = to
    }
  }
  return bins
}

const whole = (row: number, to: number): Piece => ({ row, from: 0, to })

/** Worst fit, longest first (`binpacking.to_constant_volume`): each row into the emptiest bin, if it fits there. */
function binpack(lengths: number[], size: number): Bin[] {
  const bins: Bin[] = []
  const heap = new Loads()
  const order = [...lengths.keys()].filter(row => lengths[row] > 0).sort((a, b) => lengths[b] - lengths[a])
  for (const row of order) {
    const emptiest = heap.least()
    const fits = emptiest !== undefined && heap.loadOf(emptiest) + lengths[row] <= size
    if (fits) {
      bins[emptiest].push(whole(row, lengths[row]))
      heap.raise(lengths[row])
    } else {
      bins.push([whole(row, lengths[row])])
      heap.add(lengths[row])
    }
  }
  return bins
}

/** Bins by their loads, the least first, among equals the oldest: a binary heap. */
class Loads {
  readonly #loads: number[] = []
  readonly #heap: number[] = []

  least(): number | undefined {
    return this.#heap[0]
  }

  loadOf(bin: number): number {
    return this.#loads[bin]
  }

  /** Adds to the load of the least. */
  raise(by: number): void {
    this.#loads[this.#heap[0]] += by
    for (let i = 0; ;) {
      const child = [2 * i + 1, 2 * i + 2].filter(c => c < this.#heap.length).sort((a, b) => (this.#before(a, b) ? -1 : 1))[0]
      if (child === undefined || !this.#before(child, i)) return
      this.#swap(i, child)
      i = child
    }
  }

  add(load: number): void {
    let i = this.#heap.push(this.#loads.push(load) - 1) - 1
    for (let parent = (i - 1) >> 1; i > 0 && this.#before(i, parent); parent = (i - 1) >> 1) {
      this.#swap(i, parent)
      i = parent
    }
  }

  #before(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a], this.#heap[b]]
    return this.#loads[x] < this.#loads[y] || (this.#loads[x] === this.#loads[y] && x < y)
  }

  #swap(a: number, b: number): void {
    [this.#heap[a], this.#heap[b]] = [this.#heap[b], this.#heap[a]]
  }
}

/** Next fit: rows in their order. */
function sequential(lengths: number[], size: number): Bin[] {
  const bins: Bin[] = []
  let load = size
  for (const [row, n] of lengths.entries()) {
    if (n === 0) continue
    if (load + n > size) {
      bins.push([])
      load = 0
    }
    bins.at(-1)!.push(whole(row, n))
    load += n
  }
  return bins
}
