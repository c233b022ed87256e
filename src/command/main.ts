/** From arguments to a command's page. What is wrong with the arguments ends here, before anything is loaded. */
import { SwiftTunersError } from '../errors.js'
import { nearest } from '../options.js'
import { printable } from '../text.js'
import { checkFiles } from './check-files.js'
import { type Command, COMMANDS } from './commands.js'
import { readConfig, savedArgs } from './config-file.js'
import { help, helpOf } from './help.js'
import { complete, fromFile, type Given, parsed } from './parse.js'
import { version } from './version.js'

/** Exit statuses: 0, 1 where a run failed, 2 where the arguments are wrong, 130 where it was interrupted. */
export async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(help())
    return name === undefined ? 2 : 0
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${version()}\n`)
    return 0
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearest(name, Object.keys(COMMANDS))
    return failed('swift-tuners', `${printable(name)}: there is no such command; ${near ? `did you mean ${near}?` : `there are ${Object.keys(COMMANDS).join(', ')}`}`, 2)
  }
  const command = COMMANDS[name]
  let args: Given
  try {
    const given = parsed(rest, command.options, command.positional)
    if (given.help) {
      process.stdout.write(helpOf(name, command))
      return 0
    }
    args = await whole(given, command)
    checkFiles(name, args)
  } catch (error) {
    return told(name, error, 2)
  }
  process.removeAllListeners('warning')
  process.on('warning', warning => process.stderr.write(`${warning.name === 'SwiftTunersWarning' ? 'warning' : warning.name}: ${warning.message}\n`))
  try {
    const run = await command.load()
    return await run(args as never)
  } catch (error) {
    const code = (error as SwiftTunersError).code
    return told(name, error, code === 'ERR_INVALID_CONFIG' || code === 'ERR_INVALID_ARGUMENT' || code === 'ERR_UNSUPPORTED_MODEL' || code === 'ERR_TARGET_NOT_FOUND' ? 2 : 1)
  }
}

/** What saved arguments may say of a model that is used again; a run that goes on takes up all. */
const OF_MODEL: readonly string[] = [
  'model', 'use_hf', 'model_revision', 'torch_dtype', 'quant_method', 'quant_bits', 'template', 'template_kwargs', 'system', 'max_length', 'truncation_strategy', 'tuner_type', 'loss_scale',
  'columns', 'dataset_format',
]

/** The values of the command line, before those of `--config`, before those of a checkpoint, before the defaults. */
async function whole(line: Given, { options, remembers = OF_MODEL }: Command): Promise<Given> {
  const file = line.config === undefined ? {} : fromFile(String(line.config), await readConfig(String(line.config)), options)
  const given = { ...file, ...line }
  const checkpoint = given.resume_from_checkpoint as string | undefined
  const from = checkpoint ?? (given.adapters as string[] | undefined)?.[0].replace(/^[\w.-]+=/, '')
  const saved = from === undefined || given.load_args === false ? {} : await savedArgs(from, checkpoint === undefined ? remembers : Object.keys(options).filter(name => !NOT_AGAIN.includes(name)), options)
  return complete({ ...saved, ...given }, options)
}

const NOT_AGAIN = ['resume_from_checkpoint', 'config', 'help', 'json', 'load_args']

function told(name: string, error: unknown, status: number): number {
  if (process.env.SWIFT_TUNERS_STACK === '1') process.stderr.write(`${(error as Error)?.stack}\n`)
  const code = (error as NodeJS.ErrnoException)?.code
  const known = error instanceof SwiftTunersError || typeof code === 'string'
  return failed(`swift-tuners ${name}`, known ? (error as Error).message : String((error as Error)?.stack ?? error), status)
}

function failed(call: string, message: string, status: number): number {
  process.stderr.write(`${call}: ${message}\n`)
  return status
}
