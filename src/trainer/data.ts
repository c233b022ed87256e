import { SwiftTunersError } from '../errors.js'
import { digest } from './digest.js'
import type { TrainerOptions } from './options.js'
import type { Position } from './position.js'
import { batchesOf, type BatchSource, knowsEpochs, type Located } from './source.js'

/** The batches of a run, from where it stands. */
export class Data {
  readonly #source: BatchSource
  /** Whether checkpoints name what was seen. */
  readonly #named: boolean

  constructor({ train }: TrainerOptions, at: Position, named: boolean) {
    this.#source = train
    this.#named = named
    if (at.varies && at.step > 0 && !knowsEpochs(train)) {
      throw new SwiftTunersError('ERR_INVALID_STATE', `train: it gave epochs in different orders before the run was cut off, and cannot know that epoch ${at.epoch} is next; give a function (epoch, seed) => batches, or a data set with forEpoch`)
    }
  }

  /** The batches of an epoch with their places. */
  static async *located(name: string, source: BatchSource, epoch: number, seed: number): AsyncGenerator<Located> {
    let index = 0
    for await (const batch of await batchesOf(name, source, epoch, seed)) {
      const where = `${name}: epoch ${epoch}, batch ${index++}`
      if (typeof batch !== 'object' || batch === null) throw new SwiftTunersError('ERR_INVALID_CONFIG', `${where}: expected model inputs, found ${typeof batch}`)
      yield { where, batch }
    }
  }

  /** What is left of the epoch at a position. Refuses data whose first batches are not those that were trained on. */
  async *epoch(at: Position): AsyncGenerator<Located> {
    const skip = at.batch
    let [index, seen] = [0, '']
    const check = () => {
      if (skip > 0 && at.data !== '' && seen !== at.data) {
        throw new SwiftTunersError('ERR_INVALID_STATE', `train: the first ${skip} batches of epoch ${at.epoch} are not those that the run had before it was cut off; batches of an epoch must be the same each time: give an array, or a function (epoch, seed) => batches that shuffles by them alone`)
      }
    }
    for await (const located of Data.located('train', this.#source, at.epoch, at.seed)) {
      if (index < skip) {
        if (this.#named && at.data !== '') seen = await digest(seen, located.batch)
        if (++index === skip) check()
        continue
      }
      index++
      yield located
    }
    if (index < skip) {
      throw new SwiftTunersError('ERR_INVALID_STATE', `train: epoch ${at.epoch} has ${index} batches, and the run had ${skip} of them before it was cut off`)
    }
    if (index === 0) throw new SwiftTunersError('ERR_INVALID_CONFIG', 'train: the data holds no batch (an iterator can be used once only; pass an array or an iterable)')
  }

  /** Moves a position behind batches that were trained on. */
  async done(at: Position, group: Located[]): Promise<void> {
    for (const { batch } of group) {
      if (this.#named) {
        const seen = await digest(at.data, batch)
        if (at.batch === 0) {
          if (at.first === '') at.first = seen
          else if (seen !== at.first) at.varies = true
        }
        at.data = seen
      }
      at.batch += 1
    }
  }
}
