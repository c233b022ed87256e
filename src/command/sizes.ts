/** Sizes as people read them. */

/** `3.8 M`, `1.2 G`: numbers of this size are read and not counted. */
export function short(count: number): string {
  const units: [number, string][] = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]
  const [size, unit] = units.find(([least]) => count >= least) ?? [1, '']
  return unit ? `${(count / size).toFixed(1)} ${unit}` : String(count)
}

/** Bytes as `7.7 MiB`. */
export function bytes(count: number): string {
  const units: [number, string][] = [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]
  const [size, unit] = units.find(([least]) => count >= least) ?? [1, 'B']
  return `${unit === 'B' ? count : (count / size).toFixed(1)} ${unit}`
}
