/** Parameter-efficient fine-tuning for Node.js: SWIFT's tuners and PEFT's checkpoints on a Rust core. */
import './src/native/select.js'
export { type ErrorCode, type ErrorDetails, SwiftTunersError } from './src/errors.js'
export { type Device, type DType, type NestedNumbers, readSafetensors, Tensor, type TensorData, writeSafetensors } from './src/tensor.js'
export type { ModelInputs, ModelOutput, PassOptions } from './src/inputs.js'
export type { FinishReason, GenerateOptions, GenerateStepsOptions, GenerationStep, TokenLogprob } from './src/generate.js'
export type { SaveOptions } from './src/saving.js'
export { Model, type ModelHandle, type ParameterInfo, type Quantization } from './src/model.js'
export { AutoModel, type LoadOptions } from './src/auto-model.js'
export { type Hub, type HubOptions, snapshotDownload } from './src/hub.js'
export { type ContainerSpec, type ModuleSpec, nn } from './src/nn.js'
export { Parameter } from './src/parameter.js'
export {
  AutoTokenizer, type ChatTemplateOptions, type DecodeOptions, DecodeStream, type EncodeBatchOptions, type EncodeOptions,
} from './src/tokenizer.js'
export {
  type ModelKeyMapping, PeftConfig, type ResTunerBlock, type ResTunerOptions, type ResTunerSpec, SwiftConfig,
} from './src/configs.js'
export * from './src/tuners.js'
export { type LoadReport, type ParamGroup, SwiftModel, type WeightedAdapterOptions } from './src/swift-model.js'
export {
  type LoadAdapterOptions, PeftModel, PeftModelForCausalLM, PeftModelForFeatureExtraction, PeftModelForQuestionAnswering, PeftModelForSeq2SeqLM,
  PeftModelForSequenceClassification, PeftModelForTokenClassification,
} from './src/peft-model.js'
export { type FromPretrainedOptions, type PrepareOptions, Swift } from './src/swift.js'
export {
  Adafactor, type AdafactorOptions, AdamW, AdamW8bit, createGaLoreParamGroups, GaLoreAdafactor, GaLoreAdamW, type GaLoreConfig, LoraFA, Muon, Optimizer,
  QGaLoreAdamW, SGD,
} from './src/optimizer.js'
export { createArrowModel } from './src/arrow.js'
export {
  AutoPeftModel, AutoPeftModelForCausalLM, AutoPeftModelForFeatureExtraction, AutoPeftModelForQuestionAnswering, AutoPeftModelForSeq2SeqLM,
  AutoPeftModelForSequenceClassification, AutoPeftModelForTokenClassification, type AutoPeftOptions,
} from './src/auto-peft-model.js'
export { getPeftModelStateDict, setPeftModelStateDict } from './src/adapter-state.js'
export { rescaleAdapterScale } from './src/rescale.js'
export { hotswapAdapter } from './src/hotswap.js'
export { getLayerStatus, getModelStatus, type LayerStatus, type ModelStatus } from './src/status.js'
export { type DataOptions, initializeLoraEvaWeights, preprocessCorda, preprocessLoraga } from './src/initialization.js'
export { Trainer } from './src/trainer.js'
export type { Checkpoint, Evaluation, RunOptions, TrainerOptions, TrainingResult, TrainingStep } from './src/trainer/options.js'
export { TrainingRun } from './src/trainer/run.js'
export type { ScheduleOptions } from './src/trainer/schedule.js'
export type { Batches, BatchSource, EpochSource } from './src/trainer/source.js'
