/** cargo as the addon's build calls it: for a named target, so that tests and lints find what that has built. */
import { spawnSync } from 'node:child_process'

/** The platform that this is, as rustc names it; `CARGO_BUILD_TARGET` chooses another. */
function target() {
  if (process.env.CARGO_BUILD_TARGET) return process.env.CARGO_BUILD_TARGET
  const { stdout } = spawnSync('rustc', ['-vV'], { encoding: 'utf8', shell: process.platform === 'win32' })
  return /^host: (\S+)$/m.exec(stdout ?? '')?.[1]
}

/** Arguments of cargo: a command, the release profile, the locked dependencies, the target, and more. */
export function cargo(command, ...more) {
  const triple = target()
  return [command, '--release', '--locked', ...(triple ? ['--target', triple] : []), ...more]
}
