import { CPO, cpoLoss, type CPOLossOptions } from '../losses/cpo.js'
import { Trainer } from '../trainer.js'
import { pairTrainer, type PairTrainerOptions } from './pair-trainer.js'

/** What CPO is trained with: the loss's options beside those of all trainers over pairs. */
export interface CPOTrainerOptions extends PairTrainerOptions, CPOLossOptions {}

/** Contrastive preference optimisation: DPO without a reference, beside fine-tuning on the preferred answers. Xu et al. 2024 (arXiv 2401.08417). */
export class CPOTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: CPOTrainerOptions) {
    super(pairTrainer<CPOLossOptions>(options, { call: 'CPOTrainer', table: CPO, loss: cpoLoss }))
  }
}
