import { checkArgument, checkOptions, instance, invalidArgument, number, type OptionTable } from '../options.js'
import { Tensor } from '../tensor.js'

/** How alike embeddings are compared. */
export interface InfoNCELossOptions {
  /** What similarities are divided by: smaller, sharper. Default 0.05. */
  temperature?: number
}

const INFO_NCE: OptionTable<InfoNCELossOptions> = { temperature: number({ above: 0 }) }
const TENSOR = instance(Tensor as unknown as { readonly prototype: object }, 'a tensor')

/**
 * How surely each query finds its own document among all of the batch, by cosines: the mean of `-log softmax(cos / temperature)` at it. Scalar.
 *
 * `queries [n, width]`; `documents [m, width]` with m ≥ n, of which the first n belong to the queries and the others are further (hard) negatives. van den
 * Oord et al. 2018 (arXiv 1807.03748); sentence-transformers' `MultipleNegativesRankingLoss` with `scale = 1 / temperature`.
 */
export function infoNCELoss(queries: Tensor, documents: Tensor, options: InfoNCELossOptions = {}): Tensor {
  checkArgument('infoNCELoss', 'queries', queries, TENSOR)
  checkArgument('infoNCELoss', 'documents', documents, TENSOR)
  const { temperature = 0.05 } = checkOptions('infoNCELoss', options, INFO_NCE)
  const [n, width] = queries.shape
  const [m, other] = documents.shape
  if (queries.shape.length !== 2 || documents.shape.length !== 2 || width !== other || m < n) {
    throw invalidArgument('documents', `infoNCELoss: documents: expected [at least ${n}, ${width}] for queries ${JSON.stringify(queries.shape)}, found ${JSON.stringify(documents.shape)}`)
  }
  const scores = unit(queries).matmul(unit(documents).transpose(0, 1)).div(temperature)
  return scores.crossEntropy(Array.from({ length: n }, (_, i) => i))
}

/** Of length 1; a row of zeros stays one. */
const unit = (x: Tensor): Tensor => x.div(x.sqr().sum(1, { keepDim: true }).add(1e-24).sqrt())
