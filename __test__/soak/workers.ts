/** Worker threads that are terminated in the middle of a call: the main thread goes on, and no thread is left. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Swift } from '../../index.js'
import { base, logits, lora } from '../support.js'
import { TASKS } from './busy.js'
import { count, figure, median, must, program, random } from './program.js'
import { held, more } from './resident.js'
import { KINDS, prepared, target } from './saves.js'

program(async folder => {
  prepared(folder)
  const model = await Swift.prepareModel(await base(), { a: lora() }, { seed: 1 })
  const expected = (await logits(model)).join()
  const before = held()
  const times: number[] = []
  const terminations = count(200, 14)
  const tasks = Object.keys(TASKS)
  for (let i = 0; i < terminations; i++) {
    const worker = new Worker(join(__dirname, 'busy.js'), { workerData: { task: tasks[i % tasks.length], folder, handle: model.share() } })
    await new Promise((done, fail) => worker.once('message', done).once('error', fail))
    await new Promise(done => setTimeout(done, random() * 30))
    const begun = performance.now()
    await worker.terminate()
    times.push(performance.now() - begun)
    must((await logits(model)).join() === expected, `other outputs after ${tasks[i % tasks.length]} was terminated`)
    if (existsSync(target(folder))) await KINDS.swift.check(folder)
  }
  figure('terminated', `${terminations} threads in ${tasks.join(', ')}; after a median of ${median(times).toFixed(0)} ms, at most ${Math.max(...times).toFixed(0)} ms`)
  must(Math.max(...times) < 2000, 'a thread took over two seconds to end')
  const { files, threads } = await more(before)
  figure('left', `${threads} threads, ${files} files`)
  must(threads === 0 && files <= 0, `${threads} threads and ${files} files are left`)
})
