import { ORPO, orpoLoss, type ORPOLossOptions } from '../losses/orpo.js'
import { Trainer } from '../trainer.js'
import { pairTrainer, type PairTrainerOptions } from './pair-trainer.js'

/** What ORPO is trained with: the loss's options beside those of all trainers over pairs. */
export interface ORPOTrainerOptions extends PairTrainerOptions, ORPOLossOptions {}

/** Odds ratio preference optimisation: fine-tuning on the preferred answers whose odds are to be higher; no reference. Hong et al. 2024 (arXiv 2403.07691). */
export class ORPOTrainer extends Trainer {
  /** Fails with ERR_INVALID_CONFIG for an option that there is not, or that cannot be. */
  constructor(options: ORPOTrainerOptions) {
    super(pairTrainer<ORPOLossOptions>(options, { call: 'ORPOTrainer', table: ORPO, loss: orpoLoss }))
  }
}
