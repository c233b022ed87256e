import test from 'ava'
import { boolean, checkOptions, integer, list, number, object, oneOf, type OptionTable, requireOptions } from '../src/options.js'
import { failsWith } from './support.js'

interface Options {
  maxNewTokens?: number
  gradientAccumulation?: number
  rate?: number
  mode?: 'on' | 'off'
  ids?: number[]
  inner?: { warmupSteps?: number }
  deep?: boolean
}
const table: OptionTable<Options> = {
  maxNewTokens: integer({ min: 1 }), gradientAccumulation: integer({ min: 1 }), rate: number({ above: 0, max: 1 }), mode: oneOf('on', 'off'),
  ids: list(integer({ min: 0 })), inner: object({ warmupSteps: integer({ min: 0 }) }), deep: boolean,
}
const refused = (options: unknown) => () => checkOptions('call', options as Options, table, { epoch: 'epochs are said elsewhere' })

test('values out of their range are refused by name', async t => {
  checkOptions('call', { maxNewTokens: 1, rate: 1, mode: 'off', ids: [], inner: { warmupSteps: 0 }, deep: false }, table)
  checkOptions('call', { maxNewTokens: undefined }, table)
  for (const [options, message] of [
    [{ maxNewTokens: -1 }, 'call: maxNewTokens: expected an integer from 1 on, found -1'],
    [{ maxNewTokens: 1.5 }, 'call: maxNewTokens: expected an integer from 1 on, found 1.5'],
    [{ maxNewTokens: '3' }, 'call: maxNewTokens: expected an integer from 1 on, found "3"'],
    [{ rate: 0 }, 'call: rate: expected a number above 0 and up to 1, found 0'],
    [{ rate: NaN }, 'call: rate: expected a number above 0 and up to 1, found NaN'],
    [{ mode: 'auto' }, 'call: mode: expected on or off, found "auto"'],
    [{ ids: [1, -2] }, 'call: ids: expected a list of which each is an integer from 0 on, found [1, -2]'],
    [{ inner: { warmupSteps: -1 } }, 'call: inner.warmupSteps: expected an integer from 0 on, found -1'],
    [{ inner: 3 }, 'call: inner: expected an object, found 3'],
    [7, 'call: expected an object of options, found 7'],
  ] as const) t.is((await failsWith(t, 'ERR_INVALID_CONFIG', refused(options))).message, message)
})

test('names that there are not are refused with the nearest', async t => {
  for (const [options, message] of [
    [{ max_new_tokens: 3 }, 'call: there is no option max_new_tokens; did you mean maxNewTokens? (names are in camelCase)'],
    [{ maxTokens: 3 }, 'call: there is no option maxTokens; did you mean maxNewTokens?'],
    [{ gradientAccumulationSteps: 3 }, 'call: there is no option gradientAccumulationSteps; did you mean gradientAccumulation?'],
    [{ inner: { warmup_steps: 3 } }, 'call: there is no option inner.warmup_steps; did you mean inner.warmupSteps? (names are in camelCase)'],
    [{ epoch: 3 }, 'call: there is no option epoch; epochs are said elsewhere'],
    [{ constructor: 3 }, 'call: there is no option constructor; there are maxNewTokens, gradientAccumulation, rate, mode, ids, inner, deep'],
  ] as const) t.is((await failsWith(t, 'ERR_INVALID_CONFIG', refused(options))).message, message)
  const error = await failsWith(t, 'ERR_INVALID_CONFIG', refused({ max_new_tokens: 3 })) as Error & { details?: object }
  t.deepEqual(error.details, { option: 'max_new_tokens', nearest: ['maxNewTokens'] })
})

test('what must be given is asked for', async t => {
  requireOptions<Options>('call', { rate: 1 }, 'rate')
  t.is((await failsWith(t, 'ERR_INVALID_CONFIG', () => requireOptions<Options>('call', {}, 'rate'))).message, 'call: rate: missing')
})
