/** A worker of threads.spec.ts: switches adapters on a shared model and reports its outputs. */
import { parentPort, workerData } from 'node:worker_threads'
import { Model, type ModelHandle, SwiftModel } from '../index.js'
import { logits } from './support.js'

async function main(): Promise<void> {
  const { handle, names } = workerData as { handle: ModelHandle; names: string[] }
  const model = Model.fromHandle(handle) as SwiftModel
  const start = [...model.activeAdapters]
  const results: [string, number[]][] = []
  for (const name of names) {
    model.setActiveAdapters(name)
    results.push([name, await logits(model)])
  }
  parentPort!.postMessage({ start, results })
}

void main()
