/** Curves as SVG that is readable on light and on dark ground. */

/** A named curve; points by step. */
export interface Series {
  name: string
  points: [x: number, y: number][]
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [720, 400, 72, 20, 44, 52]

const STYLE = `<style>
:root{--ground:#ffffff;--ink:#1f2328;--grid:#d8dee4;--a:#0969da;--b:#bc4c00}
@media (prefers-color-scheme:dark){:root{--ground:#0d1117;--ink:#e6edf3;--grid:#30363d;--a:#58a6ff;--b:#f0883e}}
.ground{fill:var(--ground)}text{fill:var(--ink);font:13px system-ui,sans-serif}.title{font-size:16px;font-weight:600}
.grid{stroke:var(--grid)}.axis{stroke:var(--ink)}polyline{fill:none;stroke-width:2}
.a{stroke:var(--a)}.b{stroke:var(--b)}.faint{opacity:.35;stroke-width:1.2}
</style>`

/** Round numbers from at most `low` to at least `high`, about five of them. */
export function ticks(low: number, high: number): number[] {
  const span = high - low || Math.abs(high) || 1
  const rough = span / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(n => n * power).find(s => s >= rough)!
  const first = Math.floor(low / step)
  const last = Math.ceil((high === low ? high + span : high) / step)
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}

const shown = (value: number): string => (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(1).replace('e+', 'e') : String(value))
const escaped = (text: string): string => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`)

/** The mean of each point and those before it, weighted as TensorBoard smooths: what was counts `weight`. */
export function smoothed(points: Series['points'], weight = 0.9): Series['points'] {
  let [sum, norm] = [0, 0]
  return points.map(([x, y]) => {
    sum = sum * weight + y * (1 - weight)
    norm = norm * weight + (1 - weight)
    return [x, sum / norm]
  })
}

/** One or two curves over the steps of a run, with axes and a legend. A single long one is shown with its smoothed form. */
export function curveSvg(title: string, series: Series[]): string {
  const given = series.filter(one => one.points.length > 0)
  const single = given.length === 1 && given[0].points.length >= 20
  const all = single ? [given[0], { name: `${given[0].name}, smoothed`, points: smoothed(given[0].points) }] : given
  const xs = all.flatMap(one => one.points.map(([x]) => x))
  const ys = all.flatMap(one => one.points.map(([, y]) => y))
  const x = scale(Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1), LEFT, WIDTH - RIGHT)
  const marks = ticks(Math.min(...ys), Math.max(...ys))
  const y = scale(marks[0], marks.at(-1)!, HEIGHT - BOTTOM, TOP)
  const right = WIDTH - RIGHT
  const bottom = HEIGHT - BOTTOM
  const steps = ticks(Math.min(...xs), Math.max(...xs)).filter(v => v >= Math.min(...xs) && v <= Math.max(...xs) && Number.isInteger(v))
  const line = (points: Series['points']) => points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(' ')
  const names = ['a', 'b']
  const colour = (i: number) => (single ? `a${i === 0 ? ' faint' : ''}` : names[i % 2])
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">
${STYLE}
<rect class="ground" width="100%" height="100%"/>
<text class="title" x="${LEFT}" y="26">${escaped(title)}</text>
${marks.map(v => `<line class="grid" x1="${LEFT}" x2="${right}" y1="${y(v).toFixed(1)}" y2="${y(v).toFixed(1)}"/><text x="${LEFT - 8}" y="${(y(v) + 4).toFixed(1)}" text-anchor="end">${shown(v)}</text>`).join('\n')}
${steps.map(v => `<line class="axis" x1="${x(v).toFixed(1)}" x2="${x(v).toFixed(1)}" y1="${bottom}" y2="${bottom + 5}"/><text x="${x(v).toFixed(1)}" y="${bottom + 20}" text-anchor="middle">${shown(v)}</text>`).join('\n')}
<line class="axis" x1="${LEFT}" x2="${right}" y1="${bottom}" y2="${bottom}"/><line class="axis" x1="${LEFT}" x2="${LEFT}" y1="${TOP}" y2="${bottom}"/>
<text x="${right}" y="${HEIGHT - 10}" text-anchor="end">step</text>
${all.map((one, i) => `<polyline class="${colour(i)}" points="${line(one.points)}"/>`).join('\n')}
${all.map((one, i) => `<line class="${colour(i)}" stroke-width="2" x1="${LEFT + 170 * i}" x2="${LEFT + 24 + 170 * i}" y1="${HEIGHT - 15}" y2="${HEIGHT - 15}"/><text x="${LEFT + 30 + 170 * i}" y="${HEIGHT - 10}">${escaped(one.name)}</text>`).join('\n')}
</svg>
`
}

const scale = (from: number, to: number, first: number, last: number) => (value: number): number => first + ((value - from) / (to - from || 1)) * (last - first)
