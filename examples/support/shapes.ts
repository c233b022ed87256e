/** A vision task without files: squares, crosses, discs and stripes, drawn at random places, and small models that know them. */
import { AdamW, AutoModel, type Model, type ModelInputs, Tensor } from '../../index.js'

export const SIZE = 32
/** Dark shapes on light ground, or the other way round. */
export type Style = 'ink' | 'chalk'

function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const inside: ((x: number, y: number, r: number) => boolean)[] = [
  (x, y, r) => Math.max(Math.abs(x), Math.abs(y)) < r,
  (x, y, r) => Math.min(Math.abs(x), Math.abs(y)) < r / 3 && Math.max(Math.abs(x), Math.abs(y)) < r,
  (x, y, r) => x * x + y * y < r * r,
  (x, y, r) => Math.max(Math.abs(x), Math.abs(y)) < r && Math.floor(y + 64) % 4 < 2,
]

/** `[count, 3, size, size]` and the kinds of shapes. */
export function shapes(count: number, seed: number, style: Style, size = SIZE, channels = 3): { images: Tensor; labels: number[] } {
  const next = random(seed)
  const pixels = new Float32Array(count * channels * size * size)
  const labels: number[] = []
  const [shape, ground] = style === 'ink' ? [-1, 1] : [0.6, -0.4]
  for (let i = 0; i < count; i++) {
    const kind = Math.floor(next() * inside.length)
    labels.push(kind)
    const r = size * (0.2 + 0.15 * next())
    const [cx, cy] = [r + next() * (size - 2 * r), r + next() * (size - 2 * r)]
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const value = (inside[kind](x - cx, y - cy, r) ? shape : ground) + 0.2 * (next() - 0.5)
        for (let c = 0; c < channels; c++) pixels[((i * channels + c) * size + y) * size + x] = value
      }
    }
  }
  return { images: Tensor.from(pixels, [count, channels, size, size]), labels }
}

export const imageBatches = (steps: number, style: Style, seed: number, batch = 16): ModelInputs[] =>
  Array.from({ length: steps }, (_, i) => {
    const { images, labels } = shapes(batch, seed + i, style)
    return { pixelValues: images, labels }
  })

/** A small ViT that has learned shapes in ink. */
export async function inkVit(steps = 150): Promise<Model> {
  const model = await AutoModel.fromConfig({
    architectures: ['ViTForImageClassification'], model_type: 'vit', hidden_size: 64, intermediate_size: 128, num_hidden_layers: 3, num_attention_heads: 4,
    image_size: SIZE, patch_size: 8, num_channels: 3, hidden_act: 'gelu', layer_norm_eps: 1e-6, qkv_bias: true,
    id2label: { 0: 'square', 1: 'cross', 2: 'disc', 3: 'stripes' },
  }, { seed: 1 })
  await learn(model, imageBatches(steps, 'ink', 1000), 2e-3)
  return model
}

/** Noisy images, the noise level, and the noise to find. */
export function denoising(steps: number, style: Style, seed: number, batch = 4): ModelInputs[] {
  return Array.from({ length: steps }, (_, i) => {
    const { images } = shapes(batch, seed + i, style, 16, 1)
    const next = random(seed + i + 7)
    const timestep = Array.from({ length: batch }, () => Math.floor(next() * 1000))
    const noise = Tensor.from(Float32Array.from({ length: batch * 256 }, () => (next() + next() + next() + next() - 2) * 1.7), [batch, 1, 16, 16])
    const level = (f: (t: number) => number) => Tensor.from(Float32Array.from(timestep, t => f(t / 1000)), [batch, 1, 1, 1])
    const sample = images.mul(level(t => Math.cos(t * Math.PI / 2))).add(noise.mul(level(t => Math.sin(t * Math.PI / 2))))
    return { sample, timestep, encoderHiddenStates: Tensor.zeros([batch, 1, 16]), target: noise }
  })
}

/** A small diffusers UNet that has learned to find the noise over shapes in ink. */
export async function inkUnet(steps = 40): Promise<Model> {
  const model = await AutoModel.fromConfig({
    _class_name: 'UNet2DConditionModel', sample_size: 16, in_channels: 1, out_channels: 1, block_out_channels: [16, 32], layers_per_block: 1, norm_num_groups: 8,
    down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'], up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'], mid_block_type: 'UNetMidBlock2DCrossAttn',
    cross_attention_dim: 16, attention_head_dim: 8, act_fn: 'silu', flip_sin_to_cos: true, freq_shift: 0, downsample_padding: 1, norm_eps: 1e-5,
  }, { seed: 1 })
  await learn(model, denoising(steps, 'ink', 2000), 3e-3)
  return model
}

async function learn(model: Model, train: ModelInputs[], lr: number): Promise<void> {
  const optimizer = new AdamW(model.parameters(), { lr, weightDecay: 0 })
  model.train()
  for (const batch of train) {
    optimizer.zeroGrad()
    await (await model.forward(batch)).loss!.backward()
    await optimizer.step()
  }
  model.eval()
}
