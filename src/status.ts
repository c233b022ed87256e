/** What stands on which layer of a PEFT model: PEFT's `get_layer_status` and `get_model_status`. */
import { native } from './errors.js'
import { Model } from './model.js'
import { checkArgument, where } from './options.js'
import type { PeftModel } from './peft-model.js'

/** One adapter layer. */
export interface LayerStatus {
  /** Path in the wrapped model, such as `model.model.layers.0.self_attn.q_proj`. */
  name: string
  /** Type of the adapters and kind of the layer, such as `lora.Linear`. */
  moduleType: string
  /** Whether any adapter is active. */
  enabled: boolean
  /** Of the model. */
  activeAdapters: string[]
  /** Whose weights are merged into this layer. */
  mergedAdapters: string[]
  /** Whether an adapter's tensors here train; `'irregular'` where some do. */
  requiresGrad: Record<string, boolean | 'irregular'>
  /** The adapters that this layer has, in alphabetical order. */
  availableAdapters: string[]
  /** Where an adapter's tensors are. */
  devices: Record<string, string[]>
  /** How the layer's own weight is packed, or null. */
  quantizationBackend: string | null
}

/** All adapter layers together: what differs from layer to layer is `'irregular'`. */
export interface ModelStatus {
  /** The base model's class, such as `LlamaForCausalLM`. */
  baseModelType: string
  /** By adapter name. */
  peftTypes: Record<string, string>
  /** Elements of the parameters that train, tied ones once. */
  trainableParams: number
  /** Elements of all parameters, tied ones once. */
  totalParams: number
  /** Layers that have adapters. */
  numAdapterLayers: number
  /** Whether any adapter is active. */
  enabled: boolean
  /** Of the model. */
  activeAdapters: string[]
  /** Whose weights are merged. */
  mergedAdapters: string[] | 'irregular'
  /** Whether an adapter's tensors train. */
  requiresGrad: Record<string, boolean | 'irregular'>
  /** The adapters that there are, in alphabetical order. */
  availableAdapters: string[]
  /** Where an adapter's tensors are. */
  devices: Record<string, string[]>
  /** How the layers' own weights are packed, or null. */
  quantizationBackend: string | null | 'irregular'
}

// By what it is: the class's file imports this one.
const MODEL = where('a PeftModel', v => v instanceof Model && native(() => v.native.flavor) === 'peft')

/** The status of every layer that has adapters. Models without such layers (prompts) are refused, as in PEFT. */
export function getLayerStatus(model: PeftModel): LayerStatus[] {
  checkArgument('getLayerStatus', 'model', model, MODEL)
  const active = [...model.activeAdapters]
  return native(() => model.native.layerStatus()).map(layer => ({
    name: layer.name,
    moduleType: layer.moduleType,
    enabled: active.length > 0,
    activeAdapters: active,
    mergedAdapters: layer.merged,
    requiresGrad: Object.fromEntries(layer.adapters.map(a => [a.name, a.requiresGrad ?? 'irregular'])),
    availableAdapters: layer.adapters.map(a => a.name).sort(),
    devices: Object.fromEntries(layer.adapters.map(a => [a.name, [...a.devices].sort()])),
    quantizationBackend: layer.quantization ?? null,
  }))
}

/** The status of the model. */
export function getModelStatus(model: PeftModel): ModelStatus {
  const layers = getLayerStatus(model)
  const names = [...new Set(layers.flatMap(l => l.availableAdapters))].sort()
  const of = <T>(pick: (layer: LayerStatus) => T | undefined) => common(layers.map(pick).filter(v => v !== undefined))
  const { trainable, all } = model.getNbTrainableParameters()
  return {
    baseModelType: native(() => model.native.architecture),
    peftTypes: Object.fromEntries([...model.peftConfig].map(([name, config]) => [name, config.peftType])),
    trainableParams: trainable,
    totalParams: all,
    numAdapterLayers: layers.length,
    enabled: layers[0].enabled,
    activeAdapters: layers[0].activeAdapters,
    mergedAdapters: of(l => l.mergedAdapters),
    requiresGrad: Object.fromEntries(names.map(name => [name, of(l => l.requiresGrad[name])])),
    availableAdapters: names,
    devices: Object.fromEntries(names.map(name => [name, [...new Set(layers.flatMap(l => l.devices[name] ?? []))].sort()])),
    quantizationBackend: of(l => l.quantizationBackend),
  }
}

/** The one value that all have, or `'irregular'`. */
function common<T>(values: T[]): T | 'irregular' {
  const [first] = values, text = JSON.stringify(first)
  return values.every(v => JSON.stringify(v) === text) ? first : 'irregular'
}
