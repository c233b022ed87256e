/** How rows become token ids. */
import { boolean, integer, isObject, oneOf, type OptionTable, string, where } from '../options.js'
import type { Loss, Truncation } from './labels.js'

/** How rows become token ids. */
export interface EncodeRowOptions {
  /** What is trained of a conversation; messages with a `loss` of their own go by that. Default assistant. */
  loss?: Loss
  /** Tokens of a row, at most. Default: as many as it has. */
  maxLength?: number
  /** What becomes of longer rows: they go, keep the last tokens (left) or the first (right), or are cut into several. Default delete. */
  truncation?: Truncation
  /** A Jinja template, or the name of one of the tokenizer's. Default: the tokenizer's. */
  chatTemplate?: string
  /** Variables of the template (`enable_thinking`); a row's own go before them. */
  templateKwargs?: Record<string, unknown>
  /** Whether texts without a template end with the end token. Default true. */
  addEos?: boolean
  /** Whether a turn that has no place of its own in the template's text, and cannot be trained, is an error. Default false. */
  strict?: boolean
}

export const ENCODE_ROW: OptionTable<EncodeRowOptions> = {
  loss: oneOf('assistant', 'last', 'all'),
  maxLength: integer({ min: 1 }),
  truncation: oneOf('delete', 'left', 'right', 'split'),
  chatTemplate: string,
  templateKwargs: where('an object', isObject),
  addEos: boolean,
  strict: boolean,
}
/** Names of TRL and ms-swift. */
export const ENCODE_HINTS: Record<string, string> = {
  truncationStrategy: 'call it truncation', maxSeqLength: 'call it maxLength', lossScale: 'call it loss, or give messages a loss_scale',
  assistantOnlyLoss: 'give loss: \'assistant\'', completionOnlyLoss: 'of prompt and completion the completion is trained; loss: \'all\' for both',
}
