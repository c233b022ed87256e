/** How well a model foretells the tokens of rows, by ms-swift's names. */
import { type Dataset, type Model, type ModelInputs, tokenAccuracy } from '../../index.js'

/** Means over all tokens that the loss counts. */
export interface Measures {
  loss: number
  token_acc: number
  tokens: number
}

export async function measure(model: Model, batches: Dataset<ModelInputs>): Promise<Measures> {
  const { loss, accuracy, tokens } = await tokenAccuracy(model, batches)
  return { loss, token_acc: accuracy, tokens }
}
