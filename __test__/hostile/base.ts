/** A valid base model and valid adapters for it: what the cases damage. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Files, json } from './contents.js'
import { read, tensor, type Tensors, written } from './safetensors.js'

export type Fields = Record<string, unknown>

export const RANK = 4

export class Base {
  readonly config: Fields
  readonly file: Buffer
  readonly weights: Tensors
  /** Those that the adapters are for. */
  readonly modules: string[]

  constructor(directory: string) {
    this.config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8'))
    this.file = readFileSync(join(directory, 'model.safetensors'))
    this.weights = read(this.file)
    this.modules = [...this.weights.keys()].filter(name => /[qv]_proj\.weight$/.test(name)).map(name => name.slice(0, -'.weight'.length))
  }

  /** A LoRA's tensors, under PEFT's keys or SWIFT's. */
  lora({ peft = true, dtype = 'F32', adapter = 'default' } = {}): Tensors {
    const out: Tensors = new Map()
    for (const [i, module] of this.modules.entries()) {
      const [rows, columns] = this.weights.get(`${module}.weight`)!.shape.map(Number)
      for (const [side, shape] of [['A', [RANK, columns]], ['B', [rows, RANK]]] as const) {
        const name = peft ? `base_model.model.${module}.lora_${side}.weight` : `${module}.lora_${side}.${adapter}.weight`
        out.set(name, tensor([...shape], i + 1, dtype))
      }
    }
    return out
  }

  /** A field that is undefined is left out. */
  peftConfig(change: Fields = {}): Fields {
    return {
      peft_type: 'LORA', r: RANK, lora_alpha: 8, lora_dropout: 0, bias: 'none', task_type: null, target_modules: ['q_proj', 'v_proj'], inference_mode: true,
      base_model_name_or_path: '_base', ...change,
    }
  }

  swiftConfig(change: Fields = {}): Fields {
    return this.peftConfig({
      swift_type: 'LORA', use_merged_linear: false, lora_dtype: null, use_qa_lora: false, enable_lora: null, lorap_lr_ratio: 16, lorap_emb_lr: 1e-6, ...change,
    })
  }

  peftFolder({ weights = written(this.lora()), config = json(this.peftConfig()) }: { weights?: Buffer; config?: Buffer } = {}): Files {
    return { 'adapter/adapter_config.json': config, 'adapter/adapter_model.safetensors': weights }
  }

  swiftFolder({ name = 'default', at = 'adapter', weights = written(this.lora({ peft: false, adapter: name })), config = json(this.swiftConfig()) }:
  { name?: string; at?: string; weights?: Buffer; config?: Buffer } = {}): Files {
    return { [`${at}/${name}/adapter_config.json`]: config, [`${at}/${name}/adapter_model.safetensors`]: weights, [`${at}/configuration.json`]: json({}) }
  }

  modelFolder({ weights = this.file, config = json(this.config) }: { weights?: Buffer; config?: Buffer } = {}): Files {
    return { 'model/config.json': config, 'model/model.safetensors': weights }
  }
}
