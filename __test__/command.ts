/** Runs the command as a user runs it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { demo, root } from './support.js'

export const bin = join(root, 'dist/src/command/bin.js')
export const model = join(demo, 'base-model')
export const rows = (name: string) => join(demo, 'dataset', `${name}.jsonl`)

/** How a command has ended. */
export interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

/** Starts it; `watch` sees the process and what standard error has so far, each time that it grows. */
export function command(args: string[], { input = '', cwd = root, watch, uid }: { input?: string; cwd?: string; watch?: (child: ChildProcess, stderr: string) => void; uid?: number } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...args], { cwd, env: { ...process.env, NO_COLOR: '1', RAYON_NUM_THREADS: '2' }, ...(uid === undefined ? {} : { uid }) })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
      watch?.(child, stderr)
    })
    child.on('error', reject)
    child.on('close', status => resolve({ status, stdout, stderr }))
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
  })
}

/** A short run over the demo: four rows a step, with dropout and in random order. */
export const short = (output: string, steps: number, ...more: string[]) => [
  'sft', '--model', model, '--dataset', rows('train'), '--max_steps', String(steps), '--per_device_train_batch_size', '4', '--gradient_accumulation_steps', '1', '--learning_rate', '5e-3',
  '--output_dir', output, '--json', ...more,
]

/** The bytes of an adapter. */
export const adapter = (folder: string) => readFileSync(join(folder, 'adapter_model.safetensors')).toString('base64')

/** A copy of the demo's model. */
export function copied(to: string): string {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(model)) copyFileSync(join(model, name), join(to, name))
  return to
}
