/** Which column of a file is which part of a row. */

/** A row by the parts' names; without a prototype, so that no column is anything but itself. */
export type Fields = Record<string, unknown>

const QUERY = ['query', 'prompt', 'input', 'instruction', 'question', 'problem']
const RESPONSE = ['response', 'answer', 'output', 'targets', 'target', 'answer_key', 'answers', 'solution', 'text', 'completion', 'content']
const SYSTEM = ['system', 'system_prompt']
const MESSAGES = ['messages', 'conversation', 'conversations']

const claim = (part: string, names: string[]): [string, string][] => names.map(name => [name, part])

/** Columns that become messages, of SWIFT's MessagesPreprocessor. */
export const CONVERSATION = new Map([...claim('messages', MESSAGES), ...claim('system', SYSTEM)])
/** Of its ResponsePreprocessor. */
export const QUESTION = new Map([...claim('query', QUERY), ...claim('response', RESPONSE), ...claim('system', SYSTEM)])
/** Of rows whose columns have the names of their parts. */
export const NAMED = new Map(claim('system', SYSTEM))

/** Other columns that are read, in lower case. */
const PARTS = new Set([
  ...QUERY, ...RESPONSE, ...SYSTEM, ...MESSAGES, 'history', 'tools', 'label', 'margin', 'rejected_response', 'rejected_messages', 'chat_template_kwargs',
  'chosen', 'rejected', 'input_ids', 'labels', 'attention_mask', 'images', 'image', 'audios', 'audio', 'videos', 'video',
])

/** The names that columns get: those of the option first, then lower case for columns that are read. */
export function firstNames(columns: Iterable<string>, chosen: Record<string, string>): Map<string, string> {
  const all = [...columns]
  const given = new Map(Object.entries(chosen).map(([from, to]) => [from.toLowerCase(), to]))
  const taken = new Set(given.values())
  const out = new Map<string, string>()
  for (const name of all) {
    const low = name.toLowerCase()
    const part = given.get(low)
    if (part !== undefined) out.set(name, part)
    else if (name !== low && PARTS.has(low) && !all.includes(low)) out.set(name, low)
    // What a chosen column is called now belongs to it alone.
    else if (taken.has(name)) out.set(name, `${name} of the file`)
  }
  return out
}

/** The parts that columns claim by their names; where several claim one, none gets it, and one of that very name keeps it. */
export function claimed(columns: Iterable<string>, claims: ReadonlyMap<string, string>): Map<string, string> {
  const byPart = new Map<string, string[]>()
  for (const name of columns) {
    const part = claims.get(name)
    if (part !== undefined) byPart.set(part, [...byPart.get(part) ?? [], name])
  }
  return new Map([...byPart].filter(([part, [name, ...others]]) => others.length === 0 && name !== part).map(([part, [name]]) => [name, part]))
}

/** A row with its columns under other names. */
export function renamed(row: object, ...steps: ReadonlyMap<string, string>[]): Fields {
  const out = Object.create(null) as Fields
  for (const [name, value] of Object.entries(row)) out[steps.reduce((at, names) => names.get(at) ?? at, name)] = value
  return out
}
