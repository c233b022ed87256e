/** Processes that are killed while they save: what is there is whole, the last save that was finished or the one in flight. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { snapshot } from '../support.js'
import { train } from '../killed.js'
import { count, figure, median, must, program, random } from './program.js'
import { type Kind, KINDS, prepared } from './saves.js'

const KILLS = count(200, 4)

interface Round {
  /** The last that was finished, the one that had begun. */
  done: number
  begun: number
  /** Milliseconds of those that were finished. */
  times: number[]
}

/** Lets a process save from `from` on and kills it in the middle of one of its saves. */
async function killed(name: string, folder: string, { from, last }: { from: number; last: number }, wait: number): Promise<Round> {
  const saves = KINDS[name].alone ? 1 : 100
  const child = spawn(process.execPath, [join(__dirname, 'saver.js'), name, folder, String(from), String(saves)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const round: Round = { done: last, begun: last, times: [] }
  // The first save of a process is its slowest.
  const chosen = from + Math.floor(random() * Math.min(saves, 3))
  let at = 0
  for await (const line of createInterface(child.stdout)) {
    const [what, number] = line.split(' ')
    if (what === 'begin') {
      round.begun = Number(number)
      at = performance.now()
      if (round.begun === chosen) setTimeout(() => child.kill('SIGKILL'), random() * 1.5 * wait)
    } else {
      round.done = Number(number)
      round.times.push(performance.now() - at)
    }
  }
  await ended(child)
  return round
}

const ended = (child: ChildProcess) => new Promise<void>(done => {
  if (child.exitCode !== null || child.signalCode !== null) done()
  else child.once('close', () => done())
})

async function kills(name: string, kind: Kind, folder: string): Promise<void> {
  let next = 0
  /** What is there. */
  let last = -1
  let most = 0
  let inside = 0
  const times: number[] = [20]
  for (let i = 0; i < KILLS; i++) {
    const { done, begun, times: more } = await killed(name, folder, { from: next, last }, median(times))
    times.push(...more)
    const left = readdirSync(join(folder, 'out')).length - 1
    most = Math.max(most, left)
    if (begun > done) inside += 1
    next = begun + 1
    if (done < 0 && !readdirSync(join(folder, 'out')).includes('target')) continue
    try {
      const found = last = await kind.check(folder)
      must(found === done || found === begun, `${name}: ${found} is there after ${done} was done and ${begun} had begun`)
    } catch (error) {
      must(false, `${name}: kill ${i}: ${(error as Error).message}`)
    }
  }
  await kind.before?.(folder, next)
  await kind.save(folder, next)
  const left = readdirSync(join(folder, 'out')).length - 1
  must(left === 0, `${name}: ${left} leftovers after the next save`)
  figure(name, `${KILLS} kills, ${inside} of them in a save of ${median(times).toFixed(0)} ms; at most ${most} leftovers, ${left} after the next save`)
}

/** A training run that is killed and started again until it ends, over and over: it ends in the files of one that nobody has killed. */
async function trainer(folder: string): Promise<void> {
  const whole = join(folder, 'whole')
  await train(whole)
  const expected = snapshot(whole)
  let kills = 0
  let runs = 0
  for (; kills < KILLS || runs === 0; runs++) {
    const dir = join(folder, `run-${runs}`)
    for (;;) {
      const child = spawn(process.execPath, [join(__dirname, '../killed.js'), dir], { stdio: ['ignore', 'pipe', 'inherit'] })
      let killing = false
      child.stdout.once('data', () => setTimeout(() => { killing = child.kill('SIGKILL') }, random() * 60))
      child.stdout.resume()
      await ended(child)
      if (child.signalCode === 'SIGKILL') kills += 1
      else must(child.exitCode === 0, `trainer: ended with ${child.exitCode ?? child.signalCode}`)
      if (child.signalCode === null || !killing) break
    }
    const found = snapshot(dir)
    const other = [...new Set([...Object.keys(found), ...Object.keys(expected)])].filter(file => found[file] !== expected[file])
    must(other.length === 0, `trainer: run ${runs} ended in other files: ${other.join(', ')}`)
  }
  figure('trainer', `${kills} kills in ${runs} runs, each of which ended in the files of a run that was not killed`)
}

program(async folder => {
  const only = process.argv.slice(2).filter(word => word in KINDS)
  for (const [name, kind] of Object.entries(KINDS)) if (only.length === 0 || only.includes(name)) await kills(name, kind, prepared(join(folder, name)))
  mkdirSync(join(folder, 'trainer'))
  await trainer(join(folder, 'trainer'))
})
