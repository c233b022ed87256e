/** Parameter-efficient fine-tuning for Node.js: SWIFT's tuners and PEFT's checkpoints on a Rust core. */
import './src/native/select.js'
export { type ErrorCode, type ErrorDetails, SwiftTunersError } from './src/errors.js'
export type { Device, DType } from './src/dtype.js'
export type { NestedNumbers, TensorData } from './src/numbers.js'
export { type ReduceOptions, Tensor, type TensorOptions } from './src/tensor.js'
export { readSafetensors, writeSafetensors } from './src/state-dict.js'
export type { ForwardOptions, ModelInputs, ModelOutput, PassOptions } from './src/inputs.js'
export type { FinishReason, GenerateOptions, GenerateStepsOptions, GenerationStep, TokenLogprob } from './src/generate.js'
export type { SaveOptions } from './src/saving.js'
export type { LoadOptions, Quantization, QuantizationOptions } from './src/load-options.js'
export { type LoadStateOptions, Model, type ModelHandle, type ParameterInfo } from './src/model.js'
export { AutoModel, type ModulesOptions, type NewModelOptions } from './src/auto-model.js'
export { type Hub, type HubOptions, snapshotDownload } from './src/hub.js'
export {
  type AttentionOptions, type BiasOptions, type ContainerSpec, type ConvOptions, type GeluOptions, type ModuleSpec, type NamedModules, nn, type NormOptions,
} from './src/nn.js'
export { Parameter } from './src/parameter.js'
export {
  AutoTokenizer, type ChatTurn, type DecodeOptions, DecodeStream, type EncodeBatchOptions, type EncodedChat, type EncodeManyOptions, type EncodeOptions,
} from './src/tokenizer.js'
export type { ChatMessage, ContentPart, ToolCall } from './src/chat/messages.js'
export type { ChatTemplateOptions, EncodeChatsOptions, TemplateOptions, TemplateVariables } from './src/chat/options.js'
export {
  type ModelKeyMapping, PeftConfig, type ResTunerBlock, type ResTunerOptions, type ResTunerSpec, SwiftConfig,
} from './src/configs.js'
export * from './src/tuners.js'
export type { ParamGroup, Params, ProjectionType } from './src/param-group.js'
export {
  type AdapterKeyOptions, type LoadReport, type MergeOptions, type OffloadOptions, type ParamGroupDefaults, type SaveAdaptersOptions, SwiftModel, type TunedModel,
  type WeightedAdapterOptions,
} from './src/swift-model.js'
export {
  type AddAdapterOptions, type LoadAdapterOptions, type PeftLoadOptions, type PeftMergeOptions, PeftModel, type PeftSaveOptions, type SetAdapterOptions,
  PeftModelForCausalLM, PeftModelForFeatureExtraction, PeftModelForQuestionAnswering, PeftModelForSeq2SeqLM, PeftModelForSequenceClassification,
  PeftModelForTokenClassification,
} from './src/peft-model.js'
export {
  type FromPretrainedOptions, type MergeFilesOptions, type PrepareOptions, type SaveMergedOptions, Swift, type SwiftMergeOptions,
} from './src/swift.js'
export { Optimizer, type StepOptions } from './src/optimizer.js'
export {
  Adafactor, type AdafactorOptions, type AdamOptions, AdamW, AdamW8bit, type CorrectedAdamOptions, GaLoreAdafactor, GaLoreAdamW, LoraFA, Muon, type MuonOptions,
  QGaLoreAdamW, SGD, type SGDOptions,
} from './src/optimizers.js'
export { createGaLoreParamGroups, type GaLoreConfig, type GroupDefaults } from './src/galore.js'
export { type ArrowOptions, createArrowModel } from './src/arrow.js'
export {
  AutoPeftModel, AutoPeftModelForCausalLM, AutoPeftModelForFeatureExtraction, AutoPeftModelForQuestionAnswering, AutoPeftModelForSeq2SeqLM,
  AutoPeftModelForSequenceClassification, AutoPeftModelForTokenClassification, type AutoPeftOptions,
} from './src/auto-peft-model.js'
export { type AdapterStateOptions, getPeftModelStateDict, setPeftModelStateDict } from './src/adapter-state.js'
export { rescaleAdapterScale } from './src/rescale.js'
export { hotswapAdapter } from './src/hotswap.js'
export { getLayerStatus, getModelStatus, type LayerStatus, type ModelStatus } from './src/status.js'
export { type DataOptions, type EvaOptions, initializeLoraEvaWeights, preprocessCorda, preprocessLoraga } from './src/initialization.js'
export { Trainer } from './src/trainer.js'
export type { Checkpoint, Evaluation, RunOptions, TrainerOptions, TrainingResult, TrainingStep } from './src/trainer/options.js'
export { TrainingRun } from './src/trainer/run.js'
export type { ScheduleOptions } from './src/trainer/schedule.js'
export type { Batches, BatchSource, EpochSource } from './src/trainer/source.js'
