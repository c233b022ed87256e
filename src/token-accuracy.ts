import { answeringMode } from './answering-mode.js'
import type { ModelInputs } from './inputs.js'
import { Model } from './model.js'
import { checkArgument, instance, invalidArgument, isObject, shown, where } from './options.js'
import { Tensor } from './tensor.js'

/** How well a model foretells tokens: means over all labels that count. */
export interface TokenMeasures {
  /** The mean of `-log p`. */
  loss: number
  /** The share of labels that are the model's most likely token. */
  accuracy: number
  /** How many labels count. */
  tokens: number
}

const BATCHES = where('batches: an iterable', v => typeof v === 'object' && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v))

/** Loss and accuracy of a causal model over batches with `labels [rows, seq]`, without dropout. For `metrics` of a Trainer, and for evaluations. */
export async function tokenAccuracy(model: Model, batches: Iterable<ModelInputs> | AsyncIterable<ModelInputs>): Promise<TokenMeasures> {
  checkArgument('tokenAccuracy', 'model', model, instance(Model, 'a Model'))
  checkArgument('tokenAccuracy', 'batches', batches, BATCHES)
  let [loss, right, tokens] = [0, 0, 0]
  await answeringMode(model, async () => {
    for await (const batch of batches) {
      if (!isObject(batch)) throw invalidArgument('batches', `tokenAccuracy: batches: expected model inputs, found ${shown(batch)}`)
      const { labels } = batch
      if (!Array.isArray(labels) && !(labels instanceof Tensor)) throw invalidArgument('labels', 'tokenAccuracy: batches: a batch has no labels')
      const { logits, loss: mean } = await model.forward(batch, { grad: false })
      if (!logits || logits.shape.length !== 3 || !mean) throw invalidArgument('model', 'tokenAccuracy: model: expected one that gives logits of tokens')
      const best = await logits.argmax(-1).data()
      const width = logits.shape[1]
      const flat = labels instanceof Tensor ? Array.from(await labels.data(), Number) : (labels as number[][]).flat()
      const counting = flat.flatMap((label, at) => (at % width > 0 && label !== -100 ? [at] : []))
      loss += mean.item() * counting.length
      right += counting.filter(at => Number(best[at - 1]) === flat[at]).length
      tokens += counting.length
    }
  })
  return { loss: loss / tokens, accuracy: right / tokens, tokens }
}
