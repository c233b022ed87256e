/**
 * `npm run build:cuda`: builds the addon with the `cuda` feature; no GPU is needed. The toolkit is the one at CUDA_HOME, or,
 * without one, NVIDIA's wheels from PyPI, unpacked below `.build/cuda`. CUDA_COMPUTE_CAP (default 90) is the oldest GPU.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, run, setup } from './setup.mjs'

const WHEELS = [
  'nvidia-cuda-nvcc==13.0.88', 'nvidia-nvvm==13.0.88', 'nvidia-cuda-crt==13.0.88', 'nvidia-cuda-cccl==13.0.85', 'nvidia-cuda-runtime==13.0.96',
  'nvidia-cublas==13.0.2.14', 'nvidia-curand==10.4.0.35', 'nvidia-cuda-nvrtc==13.0.88',
]

/** Unpacks the wheels and makes the names that build scripts look for. */
function toolkit() {
  const home = join(root, '.build/cuda/nvidia/cu13')
  const stub = join(home, 'lib/stubs/libcuda.so')
  if (!existsSync(stub)) {
    rmSync(join(root, '.build/cuda'), { recursive: true, force: true })
    run('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--no-compile', '--target', join(root, '.build/cuda'), ...WHEELS])
    const lib = join(home, 'lib')
    for (const file of readdirSync(lib)) {
      const plain = file.replace(/\.so\..*$/, '.so')
      if (plain !== file && !existsSync(join(lib, plain))) symlinkSync(file, join(lib, plain))
    }
    if (!existsSync(join(home, 'lib64'))) symlinkSync('lib', join(home, 'lib64'))
    mkdirSync(join(lib, 'stubs'), { recursive: true })
    // The driver's library exists on machines with a GPU only; an empty one of its name satisfies the linker.
    writeFileSync(join(lib, 'stubs/empty.c'), '')
    run('cc', ['-shared', '-Wl,-soname,libcuda.so.1', '-o', stub, join(lib, 'stubs/empty.c')])
  }
  return home
}

setup()
const home = process.env.CUDA_HOME ?? toolkit()
const env = {
  ...process.env,
  CUDA_HOME: home,
  CUDA_PATH: home,
  CUDA_ROOT: home,
  CUDA_COMPUTE_CAP: process.env.CUDA_COMPUTE_CAP ?? '90',
  PATH: `${join(home, 'bin')}:${process.env.PATH}`,
  LIBRARY_PATH: [join(home, 'lib'), join(home, 'lib/stubs'), process.env.LIBRARY_PATH].filter(Boolean).join(':'),
  CPATH: [join(home, 'include'), process.env.CPATH].filter(Boolean).join(':'),
}
// A folder of its own: the features differ, and the CPU build should stay as it is.
run('cargo', ['build', '--release', '--locked', '-p', 'swift-tuners-node', '--features', 'cuda', '--target-dir', 'target/cuda'], { env })
const name = `swift-tuners.${process.platform}-${process.arch}-gnu-cuda.node`
for (const folder of ['src/native', 'dist/src/native']) {
  mkdirSync(join(root, folder), { recursive: true })
  copyFileSync(join(root, 'target/cuda/release/libswift_tuners_node.so'), join(root, folder, name))
}
console.log(`built src/native/${name}; it loads where libcuda.so.1 and CUDA 13's libraries are`)
