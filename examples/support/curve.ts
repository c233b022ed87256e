/** A loss curve as text and as SVG. */

/** The mean of each of `count` equal parts. */
function binned(values: number[], count: number): number[] {
  const bins = Math.min(count, values.length)
  return Array.from({ length: bins }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / bins), Math.floor(((i + 1) * values.length) / bins))
    return part.reduce((a, b) => a + b, 0) / part.length
  })
}

/** Eight rows of blocks, the highest value on top. */
export function curveInTerminal(values: number[], width = 60, height = 8): string {
  if (values.length === 0) return '(no steps)'
  const bins = binned(values, width)
  const top = Math.max(...bins)
  const blocks = ' ▁▂▃▄▅▆▇█'
  const lines: string[] = []
  for (let row = height - 1; row >= 0; row--) {
    const label = row === height - 1 ? top.toFixed(2) : row === 0 ? '0.00' : ''
    const cells = bins.map(v => blocks[Math.max(0, Math.min(8, Math.round((v / (top || 1)) * height * 8 - row * 8)))])
    lines.push(`${label.padStart(6)} │${cells.join('')}`)
  }
  lines.push(`       └${'─'.repeat(bins.length)} step ${values.length}`)
  return lines.join('\n')
}

export function curveSvg(values: number[], title: string): string {
  const [width, height, margin] = [640, 320, 44]
  const top = Math.max(...values, 1e-9)
  const x = (i: number) => margin + ((width - 2 * margin) * i) / Math.max(1, values.length - 1)
  const y = (v: number) => height - margin - (height - 2 * margin) * (v / top)
  const line = (points: number[]) => points.map((v, i) => `${x((i * (values.length - 1)) / Math.max(1, points.length - 1)).toFixed(1)},${y(v).toFixed(1)}`).join(' ')
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(t => `<line x1="${margin}" x2="${width - margin}" y1="${y(t * top)}" y2="${y(t * top)}" stroke="#ddd"/>`
    + `<text x="${margin - 6}" y="${y(t * top) + 4}" text-anchor="end">${(t * top).toFixed(2)}</text>`)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="${width / 2}" y="22" text-anchor="middle" font-size="15">${title}</text>
${ticks.join('\n')}
<text x="${width - margin}" y="${height - margin + 18}" text-anchor="end">step ${values.length}</text>
<polyline fill="none" stroke="#9ec5e8" stroke-width="1" points="${line(values)}"/>
<polyline fill="none" stroke="#1f6fb2" stroke-width="2" points="${line(binned(values, 48))}"/>
</svg>
`
}
