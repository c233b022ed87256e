import { native } from './errors.js'
import { getNumThreads as get, setNumThreads as set } from './native/binding.js'
import { checkArgument, integer } from './options.js'

/**
 * How many threads a calculation may use, from now on: PyTorch's `torch.set_num_threads`. Passes, training, generation, loading and saving
 * heed it at once, in all worker threads; what a tensor calculates on the caller's own thread heeds the first call alone, made before any
 * calculation. Without it: the environment variable `RAYON_NUM_THREADS`, or as many as there are processors. Results do not depend on it.
 */
export function setNumThreads(threads: number): void {
  checkArgument('setNumThreads', 'threads', threads, integer({ min: 1, max: 1024 }))
  native(() => set(threads))
}

/** How many threads a calculation may use. */
export function getNumThreads(): number {
  return native(() => get())
}
