import { existsSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { native, SwiftTunersError, warn } from '../errors.js'
import type { Model } from '../model.js'
import type { Optimizer } from '../optimizer.js'
import { fromStateDict, readSafetensors, writeSafetensors } from '../state-dict.js'
import { TunedModel } from '../swift-model.js'
import type { Tensor } from '../tensor.js'
import { parsePosition, type Position } from './position.js'

/** The file that makes a folder a checkpoint: it is written last and removed first. */
const MARK = 'trainer.json'
const WEIGHTS = 'trainable.safetensors'
const STATE = 'optimizer.safetensors'
const STEPS = 'steps.safetensors'

/** The folders `PREFIX-N` of one run. */
export class Checkpoints {
  /** Those that this run has found or written. */
  readonly #own = new Set<number>()
  /** Those of them that cannot be used. */
  readonly #damaged = new Set<number>()
  /** The one that is as the model is now. */
  #current: number | undefined

  constructor(readonly root: string, readonly model: Model, readonly optimizer: Optimizer, readonly limit: number, readonly prefix: string) {}

  directory(step: number): string {
    return join(this.root, `${this.prefix}-${step}`)
  }

  /** Refuses a folder that holds another run's checkpoints. */
  async begin(): Promise<void> {
    const [newest] = await this.#steps()
    if (newest === undefined) return
    throw new SwiftTunersError('ERR_INVALID_STATE', `${this.root}: holds the checkpoints of another run (the newest is ${this.prefix}-${newest}); go on from it with resume: true, or give another checkpointDirectory`, { details: { path: this.root } })
  }

  /**
   * Puts the newest checkpoint that is whole into model and optimizer, and says where it stood; nothing where there is none at all. One
   * that is damaged is passed over with a warning; when all are, that is an error.
   */
  async restore(otherwise: Position): Promise<Position | undefined> {
    let first: unknown
    for (const step of await this.#steps()) {
      this.#own.add(step)
      if (this.#current !== undefined) continue
      try {
        const position = await this.#load(step, otherwise)
        this.#current = step
        if (first !== undefined) warn(`resume: ${this.directory(step)} is taken instead`)
        otherwise = position
      } catch (error) {
        first ??= error
        this.#damaged.add(step)
        warn(`resume: ${this.directory(step)} cannot be used: ${(error as Error).message}`)
      }
    }
    if (this.#current !== undefined) {
      // A process that was killed may not have come to it, and a run that has nothing left to do writes no other.
      await this.#prune(otherwise.best?.step)
      return otherwise
    }
    if (first !== undefined) throw first
    return undefined
  }

  async #load(step: number, otherwise: Position): Promise<Position> {
    const { model, optimizer } = this
    const dir = this.directory(step)
    const file = join(dir, MARK)
    const text = await readFile(file, 'utf8')
    const position = parsePosition(file, text, otherwise)
    if (position.step !== step) throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${file}: is of step ${position.step}`)
    const [weights, state] = [await this.#weights(step), await readSafetensors(join(dir, STATE))]
    const { states } = JSON.parse(text) as { states?: unknown }
    const found = Object.keys(state).length
    if (typeof states === 'number' && states !== found) throw new SwiftTunersError('ERR_CHECKPOINT_CORRUPT', `${join(dir, STATE)}: holds ${found} tensors, and the run wrote ${states}`, { details: { path: join(dir, STATE) } })
    const steps = model instanceof TunedModel && existsSync(join(dir, STEPS)) ? await readSafetensors(join(dir, STEPS)) : undefined
    optimizer.loadStateDict(state)
    model.loadStateDict(weights, { strict: false })
    // Most adapters remember nothing.
    if (steps) await (model as TunedModel).loadStepState(steps)
    return position
  }

  /** The weights of a checkpoint, all that this run trains and no others. */
  async #weights(step: number): Promise<Record<string, Tensor>> {
    const file = join(this.directory(step), WEIGHTS)
    const found = await readSafetensors(file)
    const expected = this.#trainable()
    const odd = Object.keys(expected).find(name => !(name in found)) ?? Object.keys(found).find(name => !(name in expected))
    if (odd !== undefined) {
      const why = odd in found ? 'is in the checkpoint, and this run does not train it' : 'is trained, and the checkpoint does not have it'
      throw new SwiftTunersError('ERR_CHECKPOINT_MISMATCH', `${file}: ${odd} ${why}`, { details: { path: file, name: odd } })
    }
    return found
  }

  /** Puts the weights of a checkpoint into the model. */
  async load(step: number): Promise<void> {
    this.model.loadStateDict(await this.#weights(step), { strict: false })
    this.#current = undefined
  }

  /** Everything that is trained, also what the optimizer trains at other steps, as LISA does. */
  #trainable(): Record<string, Tensor> {
    const { model, optimizer } = this
    const names = new Set(model.parameters().map(p => p.name))
    const known = new Set(model.namedParameters().map(p => p.name))
    for (const p of optimizer.paramGroups.flatMap(g => g.params)) if (known.has(p.name)) names.add(p.name)
    return fromStateDict(native(() => model.native.stateDict(model.prefix, [...names])))
  }

  /** Writes one, and removes older ones but the `best` when it is safe on the disk. Says nothing when it is there already. */
  async write(at: Position): Promise<string | undefined> {
    if (at.step === this.#current) return undefined
    const { model, optimizer } = this
    const foreign = (await this.#steps()).find(step => !this.#own.has(step))
    if (foreign !== undefined) {
      throw new SwiftTunersError('ERR_INVALID_STATE', `${this.directory(foreign)}: another run writes its checkpoints here, too; give each a checkpointDirectory of its own`, { details: { path: this.directory(foreign) } })
    }
    const dir = this.directory(at.step)
    await this.#clear(dir)
    if (model instanceof TunedModel) await model.savePretrained(dir)
    else await mkdir(dir, { recursive: true })
    await writeSafetensors(join(dir, WEIGHTS), this.#trainable())
    const state = optimizer.stateDict()
    await writeSafetensors(join(dir, STATE), state)
    const steps = model instanceof TunedModel ? model.stepState() : {}
    if (Object.keys(steps).length > 0) await writeSafetensors(join(dir, STEPS), steps)
    await mark(dir, JSON.stringify({ ...at, states: Object.keys(state).length }))
    await flush(this.root)
    this.#own.add(at.step)
    this.#damaged.delete(at.step)
    this.#current = at.step
    await this.#prune(at.best?.step)
    return dir
  }

  /** What a killed process has left there, or a checkpoint that could not be used. */
  async #clear(dir: string): Promise<void> {
    const old = await readdir(dir).catch(() => [] as string[])
    if (old.includes(MARK)) await rm(join(dir, MARK))
    for (const name of old) await rm(join(dir, name), { recursive: true, force: true })
  }

  async #prune(best: number | undefined): Promise<void> {
    const whole = (await this.#steps()).filter(step => !this.#damaged.has(step))
    const kept = new Set([...whole.slice(0, this.limit), best])
    for (const step of await this.#folders()) {
      if (kept.has(step) || step > whole[0]) continue
      await rm(join(this.directory(step), MARK), { force: true })
      await rm(this.directory(step), { recursive: true, force: true })
      this.#own.delete(step)
    }
  }

  async #folders(): Promise<number[]> {
    const names = await readdir(this.root).catch(() => [])
    const number = (name: string) => (name.startsWith(`${this.prefix}-`) ? name.slice(this.prefix.length + 1) : '')
    return names.map(number).filter(n => /^\d+$/.test(n)).map(Number).sort((a, b) => b - a)
  }

  /** The steps of whole checkpoints, the newest first. */
  async #steps(): Promise<number[]> {
    return (await this.#folders()).filter(step => existsSync(join(this.directory(step), MARK)))
  }
}

/** Writes the mark when everything else is on the disk. */
async function mark(dir: string, text: string): Promise<void> {
  await flush(dir)
  const file = await open(join(dir, `${MARK}.tmp`), 'w')
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(join(dir, `${MARK}.tmp`), join(dir, MARK))
  await flush(dir)
}

/** Puts a folder's entries on the disk, where the system lets folders be opened. */
async function flush(dir: string): Promise<void> {
  const folder = await open(dir, 'r').catch(() => undefined)
  try {
    await folder?.sync().catch(() => undefined)
  } finally {
    await folder?.close()
  }
}
