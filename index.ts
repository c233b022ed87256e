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
export { getNumThreads, setNumThreads } from './src/threads.js'
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
export type { Checkpoint, ComputedLoss, Evaluation, LossContext, PlannedRun, RunOptions, TrainerOptions, TrainingResult, TrainingStep } from './src/trainer/options.js'
export { TrainingRun } from './src/trainer/run.js'
export type { ScheduleOptions } from './src/trainer/schedule.js'
export type { Batches, BatchSource, EpochSource } from './src/trainer/source.js'
export { type LogpsOptions, type SequenceLogps, sequenceLogps } from './src/preference/logps.js'
export { type Reference, withReference } from './src/preference/reference.js'
export type { PairLogps, PairLoss, ReferredPairLogps } from './src/losses/pairs.js'
export type { Numbers } from './src/losses/terms.js'
export { dpoLoss, type DPOLossOptions, type DPOLossType } from './src/losses/dpo.js'
export { orpoLoss, type ORPOLossOptions } from './src/losses/orpo.js'
export { simpoLoss, type SimPOLossOptions } from './src/losses/simpo.js'
export { cpoLoss, type CPOLossOptions } from './src/losses/cpo.js'
export { type KTOLoss, ktoLoss, type KTOLossOptions, type UnpairedLogps } from './src/losses/kto.js'
export { type PairRewards, rewardLoss, type RewardLossOptions } from './src/losses/reward.js'
export { type AdvantageOptions, groupAdvantages, type GRPOLoss, grpoLoss, type GRPOLossOptions, type SampledLogps } from './src/losses/grpo.js'
export { Dataset, type ShuffleOptions, type SplitOptions } from './src/data/dataset.js'
export { parseJson } from './src/data/json-source.js'
export { loadDataset, type LoadDatasetOptions, type RowSource } from './src/data/load.js'
export type { FileOptions } from './src/data/files.js'
export type { Format } from './src/data/normalize/form.js'
export { concatenate, interleave, type InterleaveOptions } from './src/data/mix.js'
export type {
  ChatFields, ChatRow, ClassRow, Message, PairRow, PromptCompletionRow, Row, TextPart, TextRow, TokenRow, Tool, UnpairedRow,
} from './src/data/rows.js'
export { batches, type BatchesOptions, type BatchRow, type GroupOptions, type PackingOptions } from './src/data/batches.js'
export { collate, type CollateOptions } from './src/data/collate.js'
export type { Encoded, EncodedClass, EncodedPair, EncodedUnpaired } from './src/data/encoded.js'
export { type Packed, type PackOptions, packRows } from './src/data/pack.js'
export type { PairTrainerOptions, ReferenceOptions } from './src/preference/pair-trainer.js'
export type { RowOptions, Rows, RunningOptions } from './src/preference/rows.js'
export { DPOTrainer, type DPOTrainerOptions } from './src/preference/dpo-trainer.js'
export { ORPOTrainer, type ORPOTrainerOptions } from './src/preference/orpo-trainer.js'
export { SimPOTrainer, type SimPOTrainerOptions } from './src/preference/simpo-trainer.js'
export { CPOTrainer, type CPOTrainerOptions } from './src/preference/cpo-trainer.js'
export { KTOTrainer, type KTOTrainerOptions } from './src/preference/kto-trainer.js'
export { RewardTrainer, type RewardTrainerOptions } from './src/preference/reward-trainer.js'
export { GRPOTrainer, type GRPOTrainerOptions, type PromptRow } from './src/preference/grpo-trainer.js'
export type { Completion, RewardFunction } from './src/preference/rewards.js'
export { type SFTRow, SFTTrainer, type SFTTrainerOptions } from './src/sft-trainer.js'
export { type EncodedOf, encodeRow } from './src/data/encode.js'
export type { EncodeRowOptions } from './src/data/encode-options.js'
export { encodeDataset, type EncodeDatasetOptions } from './src/data/encode-dataset.js'
export type { Loss, Truncation } from './src/data/labels.js'
export type { ConversationIds, RowTokenizer, Turn } from './src/data/row-tokenizer.js'
export { infoNCELoss, type InfoNCELossOptions } from './src/losses/info-nce.js'
export { meanPooling } from './src/pooling.js'
export { tokenAccuracy, type TokenMeasures } from './src/token-accuracy.js'
