import { DPO, dpoLoss, type DPOLossOptions } from '../losses/dpo.js'
import { Trainer } from '../trainer.js'
import { pairTrainer, type PairTrainerOptions, type ReferenceOptions } from './pair-trainer.js'

/** What DPO is trained with: the loss's options beside those of all trainers over pairs. */
export interface DPOTrainerOptions extends PairTrainerOptions, ReferenceOptions, DPOLossOptions {}

/** Direct preference optimisation and its kin: preferred answers get likelier than the others, against the model without its adapters. Rafailov et al. 2023 (arXiv 2305.18290). */
export class DPOTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: DPOTrainerOptions) {
    super(pairTrainer<DPOLossOptions>(options, { call: 'DPOTrainer', table: DPO, loss: dpoLoss, refers: o => !o.referenceFree }))
  }
}
