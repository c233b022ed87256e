/**
 * A thread or a process that does one thing over and over, for those that end it in the middle:
 *
 *   node busy.js TASK FOLDER exit|throw|end
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { AdamW, Model, type ModelHandle, Swift } from '../../index.js'
import { base, fixtures, IDS, lora, rng } from '../support.js'
import { KINDS } from './saves.js'

/** What a task needs, made once; gives what is then done over and over. */
type Task = (folder: string, handle?: ModelHandle) => Promise<(round: number) => Promise<unknown>>

const tuned = async () => Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
const inputs = { inputIds: IDS, labels: IDS }

export const TASKS: Record<string, Task> = {
  async train() {
    const model = await tuned()
    const optimizer = new AdamW(model.parameters(), { lr: 1e-3 })
    return async () => {
      const { loss } = await model.forward(inputs)
      await loss!.backward()
      await optimizer.step()
      optimizer.zeroGrad()
    }
  },
  async generate() {
    const model = await tuned()
    return async () => {
      for await (const ids of model.generate({ inputIds: [[5, 9, 2]] }, { maxNewTokens: 32 })) void ids
    }
  },
  load: async () => async () => Swift.fromPretrained(await base(), join(fixtures, 'peft/basic/checkpoint')),
  save: async folder => round => KINDS.swift.save(folder, round),
  async merge() {
    const model = await tuned()
    return async () => {
      await Swift.merge(model)
      await Swift.unmerge(model)
    }
  },
  async blocking() {
    const model = await tuned()
    return async () => {
      model.forwardSync(inputs)
      await new Promise(done => setImmediate(done))
    }
  },
  async shared(_, handle) {
    const model = handle ? Model.fromHandle(handle) : await tuned()
    return () => model.forward(inputs)
  },
}

/** Goes on until `state.on` is taken away; `busy` is called when the first round begins. */
async function work(task: string, folder: string, busy: (state: { on: boolean }) => void, handle?: ModelHandle): Promise<void> {
  const step = await TASKS[task](folder, handle)
  const state = { on: true }
  busy(state)
  for (let round = 1; state.on; round++) await step(round)
}

const ENDS: Record<string, (state: { on: boolean }) => void> = {
  exit: () => process.exit(7),
  throw: () => { throw new Error('thrown on purpose') },
  end: state => { state.on = false },
}

process.removeAllListeners('warning')
if (!isMainThread) {
  const { task, folder, handle } = workerData as { task: string; folder: string; handle?: ModelHandle }
  void work(task, folder, () => parentPort!.postMessage('busy'), handle)
} else if (require.main === module) {
  const [task, folder, how, seed] = process.argv.slice(2)
  void work(task, folder, state => setTimeout(() => {
    // To the millisecond: the one who waits for the end counts from here.
    writeSync(1, `${Date.now()}\n`)
    ENDS[how](state)
  }, rng(Number(seed))() * 60))
}
