/** Adapters that know their base: PEFT's `AutoPeftModel`. */
import { AutoModel } from './auto-model.js'
import { PeftConfig } from './configs.js'
import { SwiftTunersError } from './errors.js'
import { HUB } from './hub/options.js'
import { LOAD, LOAD_HINTS, type LoadOptions } from './load-options.js'
import { checkOptions, only, type OptionTable } from './options.js'
import { LOAD_ADAPTER, type LoadAdapterOptions, PEFT_LOAD, PeftModel } from './peft-model.js'

/** How base and adapter are loaded; the hub options are those of both. */
export interface AutoPeftOptions extends LoadOptions, Omit<LoadAdapterOptions, keyof LoadOptions> {
  /** What the adapter is called in the model. Default 'default'. */
  adapterName?: string
}

const AUTO: OptionTable<AutoPeftOptions> = { ...LOAD_ADAPTER, ...PEFT_LOAD, ...LOAD }

/**
 * Loads an adapter of a directory (or hub id) together with the base model that its `adapter_config.json` names. The hub options are those of both.
 *
 * @throws SwiftTunersError `ERR_INVALID_CONFIG` when the configuration names no base, or is for another task than the class.
 */
export class AutoPeftModel {
  /** @internal The task of this class's adapters; any when absent. */
  protected static readonly task?: string

  /** Loads both. */
  static async fromPretrained(modelId: string, options: AutoPeftOptions = {}): Promise<PeftModel> {
    const given = checkOptions(`${this.name}.fromPretrained`, options, AUTO, LOAD_HINTS)
    const config = await PeftConfig.fromPretrained(modelId, only(given, HUB))
    const { base_model_name_or_path: name, task_type: task } = config.toJSON() as { base_model_name_or_path?: string | null; task_type?: string | null }
    if (this.task && task && task !== this.task) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `${this.name}: ${modelId} is for the task ${task}`, { details: { option: 'task_type' } })
    }
    if (!name) {
      throw new SwiftTunersError('ERR_INVALID_CONFIG', `base_model_name_or_path: ${modelId} does not say which model it is for; load that and call PeftModel.fromPretrained`, { details: { option: 'base_model_name_or_path' } })
    }
    const model = await AutoModel.fromPretrained(name, only(given, LOAD))
    return PeftModel.fromPretrained(model, modelId, only(given, PEFT_LOAD))
  }
}

/** For `task_type` CAUSAL_LM. */
export class AutoPeftModelForCausalLM extends AutoPeftModel {
  protected static override readonly task = 'CAUSAL_LM'
}
/** For `task_type` SEQ_2_SEQ_LM. */
export class AutoPeftModelForSeq2SeqLM extends AutoPeftModel {
  protected static override readonly task = 'SEQ_2_SEQ_LM'
}
/** For `task_type` SEQ_CLS. */
export class AutoPeftModelForSequenceClassification extends AutoPeftModel {
  protected static override readonly task = 'SEQ_CLS'
}
/** For `task_type` TOKEN_CLS. */
export class AutoPeftModelForTokenClassification extends AutoPeftModel {
  protected static override readonly task = 'TOKEN_CLS'
}
/** For `task_type` QUESTION_ANS. */
export class AutoPeftModelForQuestionAnswering extends AutoPeftModel {
  protected static override readonly task = 'QUESTION_ANS'
}
/** For `task_type` FEATURE_EXTRACTION. */
export class AutoPeftModelForFeatureExtraction extends AutoPeftModel {
  protected static override readonly task = 'FEATURE_EXTRACTION'
}
