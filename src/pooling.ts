import { checkArgument, instance, invalidArgument } from './options.js'
import type { NestedNumbers } from './numbers.js'
import { Tensor } from './tensor.js'

const TENSOR = instance(Tensor as unknown as { readonly prototype: object }, 'a tensor')

/**
 * An embedding of each text: the mean of its tokens' hidden states, as sentence-transformers pools them. `hidden [rows, seq, width]` (a model's
 * `lastHiddenState`) and the mask `[rows, seq]` that it was made with give `[rows, width]`.
 */
export function meanPooling(hidden: Tensor, attentionMask: NestedNumbers | Tensor): Tensor {
  checkArgument('meanPooling', 'hidden', hidden, TENSOR)
  const mask = (attentionMask instanceof Tensor ? attentionMask : Tensor.from(attentionMask)).toDtype(hidden.dtype)
  if (hidden.shape.length !== 3 || mask.shape.join() !== hidden.shape.slice(0, 2).join()) {
    throw invalidArgument('attentionMask', `meanPooling: attentionMask: expected ${JSON.stringify(hidden.shape.slice(0, 2))} for hidden states ${JSON.stringify(hidden.shape)}, found ${JSON.stringify(mask.shape)}`)
  }
  const weights = mask.unsqueeze(2)
  return hidden.mul(weights).sum(1).div(weights.sum(1).add(1e-9))
}
