/** What fills rows up to a width, by values before or behind them. */
export function filler(width: number, side: 'left' | 'right'): <T>(row: readonly T[], value: T) => T[] {
  return <T>(row: readonly T[], value: T) => {
    const rest = Array<T>(width - row.length).fill(value)
    return side === 'left' ? [...rest, ...row] : [...row, ...rest]
  }
}
