/** Packing as TRL and ms-swift pack. */
import { join } from 'node:path'
import test from 'ava'
import { type Packed, type PackOptions, packRows } from '../index.js'
import { failsWith, fixtures, readJson, rng } from './support.js'

type Strategy = NonNullable<PackOptions['strategy']>
type Piece = [row: number, from: number, to: number]
interface Case extends Record<string, Piece[][] | number | number[]> {
  lengths: number[]
  size: number
}

const { cases } = readJson(join(fixtures, 'labels/packing.json')) as { cases: Case[] }
const STRATEGIES: Record<Strategy, string> = { bfd: 'bfd', 'bfd-split': 'bfd_split', wrapped: 'wrapped', binpack: 'binpack', sequential: 'sequential' }

/** Rows whose tokens say which they are. */
const rowsOf = (lengths: number[]) => lengths.map((n, row) => {
  const inputIds = Array.from({ length: n }, (_, k) => 1000 * row + k)
  return { inputIds, labels: [...inputIds] }
})

/** What a packed row of these pieces is. */
function expected(pieces: Piece[]): Packed {
  const at = pieces.flatMap(([row, from, to]) => Array.from({ length: to - from }, (_, k) => ({ id: 1000 * row + from + k, k })))
  return { inputIds: at.map(({ id }) => id), labels: at.map(({ id, k }) => (k === 0 ? -100 : id)), positionIds: at.map(({ k }) => k), seqLengths: pieces.map(([, from, to]) => to - from) }
}

for (const [strategy, name] of Object.entries(STRATEGIES) as [Strategy, string][]) {
  for (const [n, { lengths, size, ...bins }] of cases.entries()) {
    test(`${strategy}: case ${n}, ${lengths.length} rows into ${size}`, t => {
      t.deepEqual(packRows(rowsOf(lengths), { size, strategy }), (bins[name] as Piece[][]).map(expected))
    })
  }
}

test('each token is packed once, and none where there is no room', t => {
  const next = rng(5)
  for (const strategy of Object.keys(STRATEGIES) as Strategy[]) {
    const lengths = Array.from({ length: 500 }, () => Math.floor(next() * 60))
    const rows = rowsOf(lengths)
    const bins = packRows(rows, { size: 64, strategy })
    t.true(bins.every(({ inputIds, seqLengths }) => inputIds.length <= 64 && inputIds.length > 0 && seqLengths.every(n => n > 0)))
    t.deepEqual(bins.flatMap(({ inputIds }) => inputIds).toSorted((a, b) => a - b), rows.flatMap(({ inputIds }) => inputIds))
  }
})

test('weights are packed with their tokens', t => {
  const rows = [{ inputIds: [1, 2], labels: [1, 2], lossScale: [0.5, 0.25] }, { inputIds: [3, 4], labels: [3, 4] }]
  t.deepEqual(packRows(rows, { size: 4, strategy: 'sequential' }), [
    { inputIds: [1, 2, 3, 4], labels: [-100, 2, -100, 4], positionIds: [0, 1, 0, 1], seqLengths: [2, 2], lossScale: [0, 0.25, 0, 1] },
  ])
})

test('many rows are packed in little time', t => {
  const next = rng(7)
  const rows = rowsOf(Array.from({ length: 50_000 }, () => 1 + Math.floor(next() * 40)))
  const begun = performance.now()
  for (const strategy of Object.keys(STRATEGIES) as Strategy[]) packRows(rows, { size: 8192, strategy })
  t.true(performance.now() - begun < 20_000)
})

test('what is wrong is said', async t => {
  await failsWith(t, 'ERR_INVALID_CONFIG', () => packRows([], {} as PackOptions))
  await failsWith(t, 'ERR_INVALID_CONFIG', () => packRows([], { size: 8, strategy: 'ffd' as 'bfd' }))
  await failsWith(t, 'ERR_INVALID_ARGUMENT', () => packRows([{ inputIds: [1, 2], labels: [1] }], { size: 8 }))
})
