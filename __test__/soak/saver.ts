/**
 * A process that saves, for those that interrupt it:
 *
 *   node saver.js KIND FOLDER FROM [COUNT]     saves FROM, FROM + 1, … and prints when each begins and is done
 *   node saver.js KIND FOLDER serve            saves the numbers that come on its input, and writes how it went to FOLDER/outcome
 */
import { openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { KINDS } from './saves.js'

const [name, folder, from, count = Infinity] = process.argv.slice(2)
const kind = KINDS[name]
const say = (text: string) => writeSync(1, `${text}\n`)

async function loop(first: number, last: number): Promise<void> {
  for (let number = first; number < last; number++) {
    await kind.before?.(folder, number)
    say(`begin ${number}`)
    await kind.save(folder, number)
    say(`done ${number}`)
  }
}

/** Says how it went with a call of its own, pwrite64, since write may be what fails. */
async function serve(): Promise<void> {
  const file = openSync(join(folder, 'outcome'), 'w')
  say('ready')
  for await (const line of createInterface(process.stdin)) {
    const [what, number] = line.split(' ')
    if (what === 'before') {
      await kind.before?.(folder, Number(number))
      say('prepared')
      continue
    }
    let text = `${number} ok`
    try {
      await kind.save(folder, Number(number))
    } catch (error) {
      const { code, message } = error as Error & { code?: string }
      text = `${number} ${code} ${message.replaceAll('\n', ' ')}`
    }
    const bytes = Buffer.from(`${text}\n`)
    writeSync(file, bytes, 0, bytes.length, 0)
  }
}

process.removeAllListeners('warning')
void (from === 'serve' ? serve() : loop(Number(from), Number(from) + Number(count)))
