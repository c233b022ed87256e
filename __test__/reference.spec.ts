import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { replayLifecycle, replayTuner } from './replay.js'
import { fixtures } from './support.js'

/**
 * What of a life-cycle case cannot hold because Python's value is a defect that the case does not mark.
 *
 * - merging: `merge_and_unload` without a name merges the adapter that `os.listdir` gave first and loses the other
 *   (swift/tuners/base.py calls `unpatch_lora` per adapter, and the first call removes all layers). Here all are merged.
 * - add-after-training, several-loras: where a layer has a LoRA already, a further one's matrices are frozen from birth (PEFT's
 *   `update_layer` re-applies the old active set), so it cannot be trained there. Here they are trainable, as on other layers.
 * - disable-adapter: leaving the context activates every adapter. Here what was active stays active.
 */
const PYTHON_DEFECTS: Record<string, RegExp> = {
  merging: /^step (30|34) forward: off by/,
  'add-after-training': /^step (6|14) trainable_names|^step 13 get_trainable_parameters/,
  'several-loras': /^step (6|27) trainable_names/,
  'disable-adapter': /^step 6 forward_in_disable_adapter active/,
}

for (const [suite, replay] of [['swift', replayTuner], ['peft', replayTuner], ['lifecycle', replayLifecycle]] as const) {
  for (const name of readdirSync(join(fixtures, suite)).sort()) {
    test.serial(`${suite}/${name} gives Python's numbers`, async t => {
      const { problems, count } = await replay(join(fixtures, suite, name))
      const defect = suite === 'lifecycle' ? PYTHON_DEFECTS[name] : undefined
      t.deepEqual(problems.filter(p => !defect?.test(p)), [])
      t.true(count >= 4, `only ${count} checks ran`)
    })
  }
}
