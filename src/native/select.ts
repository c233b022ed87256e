/**
 * Chooses the CUDA addon when its platform package is installed (or was built here) and loads; otherwise the CPU one. The
 * CUDA addon needs NVIDIA's libraries at load time, so nobody gets it unasked.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

function cudaAddon(): string | undefined {
  const name = `swift-tuners.${process.platform}-${process.arch}-gnu-cuda.node`
  const local = join(__dirname, name)
  if (existsSync(local)) return local
  try {
    return require.resolve(`swift-tuners-${process.platform}-${process.arch}-gnu-cuda/${name}`)
  } catch {
    return undefined // not installed: the usual case
  }
}

if (process.env.NAPI_RS_NATIVE_LIBRARY_PATH === undefined && process.env.SWIFT_TUNERS_DEVICE !== 'cpu') {
  const path = cudaAddon()
  if (path) {
    try {
      require(path)
      // The generated loader takes this path, and Node's module cache gives it the same addon.
      process.env.NAPI_RS_NATIVE_LIBRARY_PATH = path
    } catch (error) {
      process.emitWarning(`the CUDA addon does not load, using the CPU one: ${(error as Error).message}`, 'SwiftTunersWarning')
    }
  }
}
