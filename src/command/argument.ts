/** What options of the command line may be: text in, values out. */
import { integer as integerKind, isObject, type Kind, number as numberKind, oneOf } from '../options.js'

/** How an option is written and what it becomes. */
export interface ArgumentKind<T> {
  /** What stands behind the option in help: `N`, `FILE`, `a|b`. */
  readonly label: string
  /** What the value must be; what configuration files hold is checked by it, too. */
  readonly kind: Kind
  /** The value of a text; what it gives is checked by `kind`. */
  parse(text: string): unknown
  /** Takes all arguments that follow, up to the next option. */
  readonly many?: boolean
  /** Stands for true where nothing follows. */
  readonly flag?: boolean
  /** Only for the compiler. */
  readonly type?: T
}

const same = (text: string): unknown => text
const numeric = (text: string): unknown => (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : text)

/** Python's spellings count, too. */
function truth(text: string): unknown {
  const word = text.toLowerCase()
  return word === 'true' || word === '1' ? true : word === 'false' || word === '0' ? false : text
}

type Range = Parameters<typeof integerKind>[0]

export const integer = (range: Range = {}): ArgumentKind<number> => ({ label: 'N', kind: integerKind(range), parse: numeric })
export const number = (range: Range = {}): ArgumentKind<number> => ({ label: 'X', kind: numberKind(range), parse: numeric })
export const boolean: ArgumentKind<boolean> = { label: 'true|false', kind: { expected: 'true or false', accepts: v => typeof v === 'boolean' }, parse: truth, flag: true }
export const text = (label: string): ArgumentKind<string> =>
  ({ label, kind: { expected: 'a string that is not empty', accepts: v => typeof v === 'string' && v !== '' && !v.includes('\0') }, parse: same })
export const words = <W extends string>(...all: W[]): ArgumentKind<W> => ({ label: all.length > 6 ? 'NAME' : all.join('|'), kind: oneOf(...all), parse: same })

/** Several texts. */
export const texts = (label: string): ArgumentKind<string[]> => ({
  label: `${label} …`, many: true, parse: same,
  kind: { expected: 'strings that are not empty', accepts: v => Array.isArray(v) && v.length > 0 && Array.from(v).every(text(label).kind.accepts) },
})

/** Several numbers. */
export const numbers = (range: Range = {}): ArgumentKind<number[]> => ({
  label: 'X …', many: true, parse: numeric,
  kind: { expected: 'numbers', accepts: v => Array.isArray(v) && v.length > 0 && Array.from(v).every(numberKind(range).accepts) },
})

/** An object, as JSON. */
export const json: ArgumentKind<Record<string, unknown>> = {
  label: 'JSON', kind: { expected: 'a JSON object', accepts: isObject },
  parse(value) {
    try {
      return JSON.parse(value)
    } catch {
      return value
    }
  },
}

/** One option of the command line. */
export interface Option<T> {
  readonly argument: ArgumentKind<NonNullable<T>>
  /** What it is when nobody says; absent where that depends on others, or where there is none. */
  readonly default: T
  /** One sentence for help and reference. */
  readonly help: string
  /** What ms-swift calls it, where it is called otherwise; null where ms-swift has none. */
  readonly msSwift?: string | null
}

/** Options by name, in snake_case. */
export type OptionGroup = Record<string, Option<unknown>>

/** What options of a group become. */
export type ValuesOf<G> = { -readonly [K in keyof G]: G[K] extends Option<infer T> ? T : never }

/** An option that always has a value. */
export const option = <T>(argument: ArgumentKind<T>, fallback: NoInfer<T>, help: string, msSwift?: string | null): Option<T> =>
  ({ argument: argument as ArgumentKind<NonNullable<T>>, default: fallback, help, ...(msSwift === undefined ? {} : { msSwift }) })

/** An option that may be absent. */
export const optional = <T>(argument: ArgumentKind<T>, help: string, msSwift?: string | null): Option<T | undefined> =>
  ({ argument: argument as ArgumentKind<NonNullable<T>>, default: undefined, help, ...(msSwift === undefined ? {} : { msSwift }) })
