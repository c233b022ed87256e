/** Patterns of paths: `*` and `?` within a name, `**` over folders, `[abc]`, `{a,b}`. */

/** Whether a path is a pattern. */
export const isGlob = (path: string): boolean => /[*?[{]/.test(path)

/** The folder that all paths of a pattern are in, and what is left of the pattern. */
export function globBase(pattern: string): { folder: string; rest: string } {
  const parts = pattern.replaceAll('\\', '/').split('/')
  const first = parts.findIndex(isGlob)
  const folder = parts.slice(0, first).join('/')
  return { folder: first === 0 ? '.' : folder || '/', rest: parts.slice(first).join('/') }
}

/** The regular expression of a pattern, for paths with slashes. */
export function globRegExp(pattern: string): RegExp {
  let out = ''
  let braces = 0
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]
    if (c === '*') {
      const over = pattern[i + 1] === '*'
      if (!over) out += '[^/]*'
      else if (pattern[i + 2] === '/') {
        out += '(?:[^/]+/)*'
        i += 2
      } else {
        out += '.*'
        i++
      }
    } else if (c === '?') out += '[^/]'
    else if (c === '[' && pattern.indexOf(']', i + 2) > 0) {
      const end = pattern.indexOf(']', i + 2)
      out += `[${pattern.slice(i + 1, end).replace(/^!/, '^').replace(/[\\\]]/g, '\\$&')}]`
      i = end
    } else if (c === '{' && pattern.indexOf('}', i) > 0) {
      braces++
      out += '(?:'
    } else if (c === '}' && braces > 0) {
      braces--
      out += ')'
    } else out += c === ',' && braces > 0 ? '|' : c.replace(/[\\^$+.()|[\]{}]/, '\\$&')
  }
  return new RegExp(`^${out}${')'.repeat(braces)}$`, 'u')
}
