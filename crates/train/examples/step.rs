//! LoRA training steps on a model directory, all linear layers, r = 8: what `BENCHMARKS.md` counts instructions of.
//!
//! `RAYON_NUM_THREADS=1 valgrind --tool=callgrind target/release/examples/step DIR ROWS TOKENS STEPS`

use candle_core::{DType, Device};
use serde_json::json;
use swift_tuners_nn::module::{named_parameters, Ints};
use swift_tuners_nn::{checkpoint, Context, Inputs, Param};
use swift_tuners_train::{AdamW, Group, Optimizer};
use swift_tuners_tuners::lifecycle::PrepareOptions;
use swift_tuners_tuners::TunedModel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, rows, tokens, steps] = &args[..] else { return Err("usage: step DIR ROWS TOKENS STEPS".into()) };
    let (rows, tokens, steps): (usize, usize, usize) = (rows.parse()?, tokens.parse()?, steps.parse()?);
    let (model, _) = checkpoint::load_model(dir.as_ref(), Some(DType::F32), &Device::Cpu, None, None)?;
    let mut tuned = TunedModel::new(model, true);
    let config = json!({ "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear", "init_lora_weights": false });
    tuned.prepare(0, &[("default".to_owned(), config)], &PrepareOptions::default())?;
    let params: Vec<(String, Param)> = named_parameters(&tuned.model.root)
        .into_iter()
        .filter(|(_, p)| p.requires_grad())
        .map(|(name, p)| (name, p.clone()))
        .collect();
    let group = Group { params: params.clone(), lr: None, weight_decay: None, projection: None };
    let mut optimizer = Optimizer::new(vec![group], 1e-4, 0.01, AdamW::new((0.9, 0.999), 1e-8)?)?;
    let id = |i: usize| (i * 7919 % 4088 + 4) as i64;
    let ids = Ints::new(vec![rows, tokens], (0..rows * tokens).map(id).collect())?;
    let cx = Context { training: true, active: tuned.active_ids(0), ..Context::default() };
    let inputs = Inputs { input_ids: Some(ids.clone()), labels: Some(ids), ..Inputs::default() };
    for _ in 0..steps {
        params.iter().for_each(|(_, p)| p.set_grad(None));
        let loss = tuned.model.forward(&cx, &inputs)?.loss.ok_or("no loss")?;
        loss.backward()?;
        optimizer.step(1.)?;
        println!("{}", loss.to_scalar_f64()?);
    }
    Ok(())
}
