/** A thread of other specs: makes calls on a shared model, one per message, or a whole list of switches at once. */
import { parentPort, workerData } from 'node:worker_threads'
import { Model, type ModelHandle, type ModelInputs, SwiftModel } from '../index.js'
import { IDS, numbers } from './support.js'

const { handle, names, inputs = { inputIds: IDS } } = workerData as { handle: ModelHandle; names?: string[]; inputs?: ModelInputs }
const model = Model.fromHandle(handle) as SwiftModel
const logits = async () => numbers((await model.forward(inputs)).logits!)

/** Makes each of the named adapters the active one and reports the outputs. */
async function switches(all: string[]): Promise<void> {
  const start = [...model.activeAdapters]
  const results: [string, number[]][] = []
  for (const name of all) {
    model.setActiveAdapters(name)
    results.push([name, await logits()])
  }
  parentPort!.postMessage({ start, results })
}

async function call(message: { op: string; names: string | string[] }): Promise<void> {
  try {
    if (message.op === 'switches') return await switches(message.names as string[])
    if (message.op === 'forward') return parentPort!.postMessage({ logits: await logits() })
    if (message.op === 'set_active_adapters') model.setActiveAdapters(message.names)
    else if (message.op === 'activate_adapter') model.activateAdapter(message.names as string)
    else throw new Error(`unknown call ${message.op}`)
    parentPort!.postMessage({})
  } catch (error) {
    parentPort!.postMessage({ error: String(error) })
  }
}

if (names) void switches(names)
else parentPort!.on('message', message => void call(message))
