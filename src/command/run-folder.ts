/** The folder of a run, as ms-swift lays it out: OUTPUT/MODEL/vN-DATE-TIME/checkpoint-STEP. */
import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { invalid } from '../options.js'

/** What checkpoints are called before their number. */
export const PREFIX = 'checkpoint'

/** Where a run writes. */
export interface RunFolder {
  readonly root: string
  /** Whether a run goes on. */
  readonly resumed: boolean
}

/** `20261128-093000`, in local time. */
export function stamp(now = new Date()): string {
  const two = (n: number) => String(n).padStart(2, '0')
  return `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`
}

/** Makes a folder for a new run. */
export function newRun(output: string | undefined, model: string, versioned: boolean): RunFolder {
  const parent = resolve(output ?? join('output', basename(resolve(model))))
  mkdirSync(parent, { recursive: true })
  if (!versioned) return { root: parent, resumed: false }
  for (;;) {
    const next = 1 + Math.max(-1, ...readdirSync(parent).map(name => Number(/^v(\d+)-/.exec(name)?.[1] ?? -1)))
    const root = join(parent, `v${next}-${stamp()}`)
    try {
      mkdirSync(root)
      return { root, resumed: false }
    } catch (error) {
      // Another run was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/** The folder of the run that a checkpoint is of. Fails with ERR_INVALID_CONFIG where there is none, or a newer one. */
export function resumedRun(checkpoint: string): RunFolder {
  const given = resolve(checkpoint)
  const own = stepOf(basename(given))
  const root = own === undefined ? given : dirname(given)
  const steps = checkpointsOf(root)
  if (steps.length === 0) throw invalid('resume_from_checkpoint', `--resume_from_checkpoint: ${checkpoint}: there is no whole checkpoint`)
  if (own !== undefined && own !== steps[0]) throw invalid('resume_from_checkpoint', `--resume_from_checkpoint: ${checkpoint}: the run's newest checkpoint is ${PREFIX}-${steps[0]}, and a run goes on from its newest; move newer ones away to go on from this one`)
  return { root, resumed: true }
}

/** The steps of whole checkpoints, the newest first. */
export function checkpointsOf(root: string): number[] {
  const whole = readdirSync(root).filter(name => existsSync(join(root, name, 'trainer.json')))
  return whole.map(stepOf).filter(step => step !== undefined).sort((a, b) => b - a)
}

function stepOf(name: string): number | undefined {
  const [, step] = /^checkpoint-(\d+)$/.exec(name) ?? []
  return step === undefined ? undefined : Number(step)
}

/** Makes `name` a link to a checkpoint; nothing where the system has no links. */
export function link(root: string, name: 'last' | 'best', target: string): void {
  const at = join(root, name)
  try {
    if (lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(at)
    symlinkSync(basename(target), at, 'dir')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EPERM' && code !== 'EEXIST' && code !== 'ENOTSUP') throw error
  }
}

/** Writes what a run was started with. */
export const writeArgs = (folder: string, args: object): void => writeFileSync(join(folder, 'args.json'), `${JSON.stringify(args, null, 2)}\n`)
