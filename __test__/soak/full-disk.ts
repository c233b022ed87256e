/** A disk that is full, and one that may not be written: an error with the path, and the old checkpoint is whole. A disk of memory, in a namespace of its own. */
import { spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { figure, must, program, skip } from './program.js'
import { type Kind, KINDS, prepared } from './saves.js'

const NAMESPACE = ['-Urm']
/** Room that is left, in KiB: from nothing to more than a save takes. */
const ROOM = [0, 4, 8, 16, 32, 64, 96, 128, 256, 1024]

/** Takes all room but so many KiB. */
function fill(file: string, room: number): void {
  const out = openSync(file, 'w')
  let size = 0
  try {
    for (;;) size += writeSync(out, Buffer.alloc(4096))
  } catch {
    ftruncateSync(out, Math.max(0, size - room * 1024))
  } finally {
    closeSync(out)
  }
}

async function refused(name: string, kind: Kind, folder: string, number: number): Promise<boolean> {
  try {
    await kind.save(folder, number)
    return false
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    must(code === 'ERR_IO' && message.includes('target'), `${name}: ${code}: ${message}`)
    return true
  }
}

/** On a disk of 8 MiB. */
async function inside(name: string, folder: string): Promise<void> {
  const kind = KINDS[name]
  prepared(folder)
  await kind.before?.(folder, 1)
  await kind.save(folder, 1)
  let [last, refusals] = [1, 0]
  for (const room of ROOM) {
    const number = last + 1
    await kind.before?.(folder, number)
    fill(join(folder, 'filler'), room)
    // What `before` makes anew is that number already.
    const before = kind.alone ? number : last
    const failed = await refused(name, kind, folder, number)
    rmSync(join(folder, 'filler'))
    refusals += failed ? 1 : 0
    last = await kind.check(folder)
    must(last === (failed ? before : number), `${name}: ${last} is there after ${number} was ${failed ? 'refused' : 'saved'}`)
    const left = readdirSync(join(folder, 'out')).length - 1
    must(left === 0, `${name}: ${left} leftovers with ${room} KiB`)
  }
  must(refusals > 0 && refusals < ROOM.length, `${name}: ${refusals} of ${ROOM.length} were refused`)
  await kind.before?.(folder, last + 1)
  const found = kind.alone ? last + 1 : last
  spawnSync('mount', ['-o', 'remount,ro', folder])
  must(await refused(name, kind, folder, last + 1), `${name}: saved to a disk that may not be written`)
  spawnSync('mount', ['-o', 'remount,rw', folder])
  must(await kind.check(folder) === found, `${name}: another save after one to a disk that may not be written`)
  figure(name, `${refusals} of ${ROOM.length} saves to a full disk refused, and the one to a disk that may not be written; the old one whole after each`)
}

const at = process.argv.indexOf('--inside')
program(async folder => {
  if (at > 0) return inside(process.argv[at + 1], process.argv[at + 2])
  const mount = 'mount -t tmpfs -o size=8m none "$1" && exec "$0" "$2" --inside "$3" "$1"'
  if (spawnSync('unshare', [...NAMESPACE, 'sh', '-c', 'mount -t tmpfs none "$0"', folder]).status !== 0) skip('unshare cannot give a disk of its own here')
  for (const name of Object.keys(KINDS)) {
    const { status } = spawnSync('unshare', [...NAMESPACE, 'sh', '-c', mount, process.execPath, folder, __filename, name], { stdio: ['ignore', 'inherit', 'inherit'] })
    must(status === 0, `${name}: ended with ${status}`)
  }
})
