/** Processes that save to one folder at once, and one that reads it all the time: whatever is read is one save, whole. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { count, figure, must, program } from './program.js'
import { type Kind, KINDS, prepared, target } from './saves.js'

/** Ends with 0 when all saves went well. */
function writer(name: string, folder: string, from: number, saves: number): Promise<number | null> {
  const child = spawn(process.execPath, [join(__dirname, 'saver.js'), name, folder, String(from), String(saves)], { stdio: ['ignore', 'ignore', 'inherit'] })
  return new Promise(done => child.once('close', done))
}

async function together(name: string, kind: Kind, folder: string, writers: number, saves: number): Promise<void> {
  const state = { writing: true }
  const all = Promise.all(Array.from({ length: writers }, (_, i) => writer(name, folder, 1 + 1000 * i, saves))).finally(() => { state.writing = false })
  const seen = new Set<number>()
  let reads = 0
  while (state.writing) {
    if (!existsSync(target(folder))) {
      await new Promise(done => setTimeout(done, 5))
      continue
    }
    reads += 1
    try {
      seen.add(await kind.check(folder))
    } catch (error) {
      must(false, `${name}: ${(error as Error).message}`)
    }
  }
  const ended = await all
  must(ended.every(status => status === 0), `${name}: writers ended with ${ended.join(', ')}`)
  const last = await kind.check(folder)
  must(Array.from({ length: writers }, (_, i) => 1000 * i + saves).includes(last), `${name}: ${last} was nobody's last save`)
  const left = readdirSync(join(folder, 'out')).length - 1
  must(left === 0, `${name}: ${left} leftovers`)
  figure(`${writers} writers of ${name}`, `${writers * saves} saves, ${reads} reads, all of them whole, of ${seen.size} saves`)
}

program(async folder => {
  for (const name of ['swift', 'peft', 'sharded']) {
    await together(name, KINDS[name], prepared(join(folder, `${name}-1`)), 1, count(500, 10))
    await together(name, KINDS[name], prepared(join(folder, `${name}-8`)), count(8, 2), count(50, 5))
  }
})
