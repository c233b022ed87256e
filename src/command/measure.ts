/** How well a model foretells the tokens of rows. */
import type { Dataset, Model, ModelInputs } from '../../index.js'

/** Means over all tokens that the loss counts. */
export interface Measures {
  loss: number
  token_acc: number
  tokens: number
}

/** Loss and share of tokens that are the most likely ones, over batches of one pass. Labels are of each token itself. */
export async function measure(model: Model, batches: Dataset<ModelInputs>): Promise<Measures> {
  let [loss, right, tokens] = [0, 0, 0]
  const training = model.training
  model.eval()
  try {
    for await (const batch of batches) {
      const labels = batch.labels as number[][]
      const output = await model.forward(batch, { grad: false })
      const best = await output.logits!.argmax(-1).data()
      const width = labels[0].length
      const places = labels.flatMap((row, r) => row.flatMap((label, i) => (i > 0 && label !== -100 ? [{ label, at: r * width + i - 1 }] : [])))
      loss += output.loss!.item() * places.length
      right += places.filter(({ label, at }) => Number(best[at]) === label).length
      tokens += places.length
    }
  } finally {
    model.train(training)
  }
  return { loss: loss / tokens, token_acc: right / tokens, tokens }
}
