/**
 * Chooses the CUDA addon when its platform package is installed (or was built here) and loads; otherwise the CPU one. The
 * CUDA addon needs NVIDIA's libraries at load time, so nobody gets it unasked.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SwiftTunersError } from '../errors.js'

function cudaAddon(): string | undefined {
  const name = `swift-tuners.${process.platform}-${process.arch}-gnu-cuda.node`
  const local = join(__dirname, name)
  if (existsSync(local)) return local
  return resolved(`swift-tuners-${process.platform}-${process.arch}-gnu-cuda/${name}`)
}

function resolved(path: string): string | undefined {
  try {
    return require.resolve(path)
  } catch {
    return undefined // not installed: the usual case
  }
}

/** The platforms that there are addons for, as their packages are called. */
const PLATFORMS = ['linux-x64-gnu', 'linux-x64-musl', 'linux-arm64-gnu', 'linux-arm64-musl', 'darwin-arm64', 'darwin-x64', 'win32-x64-msvc']

function platform(): string {
  const { header } = process.platform === 'linux' ? (process.report.getReport() as { header: { glibcVersionRuntime?: string } }) : { header: {} }
  const libc = process.platform === 'linux' ? (header.glibcVersionRuntime ? '-gnu' : '-musl') : process.platform === 'win32' ? '-msvc' : ''
  return `${process.platform}-${process.arch}${libc}`
}

/** Why the addon is not there, in one sentence; nothing when it is there and does not load. */
export function missingPackage(name: string, built: (file: string) => boolean, installed: (path: string) => boolean): string | undefined {
  if (!PLATFORMS.includes(name)) return `swift-tuners has no build for this platform, ${name}; there are ${PLATFORMS.join(', ')}`
  const file = `swift-tuners.${name}.node`
  if (built(file) || installed(`swift-tuners-${name}/${file}`)) return undefined
  return `the package swift-tuners-${name} is missing, which holds the native half of swift-tuners for this platform: install it with \`npm install swift-tuners-${name}\` (npm leaves it out with --omit=optional, and where node_modules came from another machine)`
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

// Loaded here once, so that its absence is told in our words: the generated loader tells of every name that it has tried.
try {
  require('./binding.js')
} catch (cause) {
  const own = process.env.NAPI_RS_NATIVE_LIBRARY_PATH === undefined
  const why = own ? missingPackage(platform(), file => existsSync(join(__dirname, file)), path => resolved(path) !== undefined) : undefined
  throw new SwiftTunersError('ERR_IO', why ?? `the native half of swift-tuners does not load: ${reason(cause)}`, { cause })
}

/** What the system said of the file that was tried, at the bottom of the loader's chain. */
function reason(error: unknown): string {
  const texts: string[] = []
  for (let at = error as (Error & { code?: string }) | undefined; at; at = at.cause as Error | undefined) {
    if (at.code !== 'MODULE_NOT_FOUND' && !/^Cannot find native binding/.test(at.message)) texts.push(at.message.split('\n')[0])
  }
  return texts.join('; ') || String((error as Error).message).split('\n')[0]
}
