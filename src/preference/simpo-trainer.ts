import { SIMPO, simpoLoss, type SimPOLossOptions } from '../losses/simpo.js'
import { Trainer } from '../trainer.js'
import { pairTrainer, type PairTrainerOptions } from './pair-trainer.js'

/** What SimPO is trained with: the loss's options beside those of all trainers over pairs. */
export interface SimPOTrainerOptions extends PairTrainerOptions, SimPOLossOptions {}

/** Simple preference optimisation: mean log-probabilities with a margin; no reference. Meng et al. 2024 (arXiv 2405.14734). */
export class SimPOTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: SimPOTrainerOptions) {
    super(pairTrainer<SimPOLossOptions>(options, { call: 'SimPOTrainer', table: SIMPO, loss: simpoLoss }))
  }
}
