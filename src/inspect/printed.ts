/** How objects of this package look in a console. */

const inspect = Symbol.for('nodejs.util.inspect.custom')

/** Gives a class a text: for `console.log`, `util.inspect` and `String()`. */
export function printed<T extends object>(Class: { readonly prototype: T }, text: (value: T) => string): void {
  function show(this: T): string {
    try {
      return text(this)
    } catch (error) {
      // A console must not fail: what was disposed has nothing to show.
      return `${this.constructor.name}(${(error as { code?: string }).code === 'ERR_DISPOSED' ? 'disposed' : (error as Error).message})`
    }
  }
  for (const name of [inspect, 'toString'] as const) Object.defineProperty(Class.prototype, name, { value: show, writable: true, configurable: true })
}
