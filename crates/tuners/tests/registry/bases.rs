//! Tuners on bases in few bits, and on blocks that run twice.

use super::support::{fixtures, gap, inference, logits, loss_of, values};
use super::table::{Case, Property};
use super::{close, for_all, holds, same, stir_by, training_loss, Outcome};
use candle_core::{DType, Device};
use swift_tuners_nn::checkpoint::load_model;
use swift_tuners_nn::module::own_parameters;
use swift_tuners_nn::{Array, Context, Error, Inputs, Packing, Quantization, Result};
use swift_tuners_tuners::config::Dialect;
use swift_tuners_tuners::lifecycle::PrepareOptions;
use swift_tuners_tuners::TunedModel;

/// Of outputs, relative to the largest: bfloat16 keeps eight bits, of every layer's output.
const HALF: f64 = 0.05;
/// Of the gradients of all parameters together, relative to their norm.
const HALF_GRADIENT: f64 = 0.15;
/// The same with f32 against f64 over one packed base.
const PACKED: f64 = 1e-4;
const PACKED_GRADIENT: f64 = 1e-3;

#[test]
fn blocks_that_run_again_give_the_same_gradients() {
    for_all(Property::Checkpointing, |case| {
        let (model, inputs) = (case.prepared(&["a"], true)?, case.inputs()?);
        let grads = |checkpointing: bool| -> Result<Vec<(String, Option<Array>)>> {
            let cx = Context {
                active: model.active_ids(0),
                training: true,
                grad: true,
                seed: 7,
                checkpointing,
                ..Context::default()
            };
            loss_of(&model.model.forward(&cx, &inputs)?)?.backward()?;
            let grads = model.model.parameters().into_iter().filter(|(_, p)| p.requires_grad());
            let grads = grads.map(|(n, p)| (n, p.grad())).collect();
            model.model.parameters().iter().for_each(|(_, p)| p.set_grad(None));
            Ok(grads)
        };
        for ((name, kept), (_, again)) in grads(false)?.into_iter().zip(grads(true)?) {
            match (kept, again) {
                // Gradients of tensors that layers share are summed in another order.
                (Some(kept), Some(again)) => holds!(close(&name, &again, &kept)),
                (None, None) => {}
                _ => return Ok(Err(format!("{name} has a gradient one time and none the other"))),
            }
        }
        Ok(Ok(()))
    });
}

/// The case's adapter, which does something, on this base.
fn tuned(case: &Case, mut base: TunedModel) -> Result<TunedModel> {
    base.prepare(0, &[("a".into(), case.config.clone())], &PrepareOptions { seed: 3, ..Default::default() })?;
    stir_by(&base, "a", 10, [0.05, 0.])?;
    Ok(base)
}

/// The base in f64, with the values that another one has.
fn widened(case: &Case, of: &TunedModel) -> Result<TunedModel> {
    let wide = case.untuned()?;
    for ((_, to), (_, from)) in own_parameters(&wide.model.root).into_iter().zip(own_parameters(&of.model.root)) {
        to.set(&from.array()?.to_dtype(DType::F64)?)?;
    }
    Ok(wide)
}

fn inputs(case: &Case, dtype: DType) -> Result<Inputs> {
    let mut inputs = case.inputs()?;
    for tensor in [&mut inputs.sample, &mut inputs.encoder_hidden_states, &mut inputs.pixel_values] {
        *tensor = tensor.take().map(|t| t.to_dtype(dtype)).transpose()?;
    }
    Ok(inputs)
}

/// The gradients of all trained parameters, one behind the other.
fn gradient(model: &TunedModel, inputs: &Inputs) -> Result<Vec<f64>> {
    training_loss(model, inputs, true)?.backward()?;
    let mut all = Vec::new();
    for (_, param) in model.model.parameters().into_iter().filter(|(_, p)| p.requires_grad()) {
        let zeros = || vec![0.; param.numel()];
        all.extend(param.grad().map_or_else(|| Ok(zeros()), |g| values(&g))?);
    }
    Ok(all)
}

fn near(what: &str, actual: &[f64], expected: &[f64], most: f64) -> Outcome {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut actual.iter().zip(expected).map(|(a, e)| a - e)) / norm(&mut expected.iter().copied());
    if actual.len() == expected.len() && off <= most {
        Ok(())
    } else {
        Err(format!("{what}: off by {off:.1e} of its norm"))
    }
}

/// A base of another kind against the same values in f64.
fn as_in_f64(case: &Case, narrow: TunedModel, dtype: DType, most: [f64; 2]) -> Result<Outcome> {
    let wide = tuned(case, widened(case, &narrow)?)?;
    let mut narrow = tuned(case, narrow)?;
    let unlabelled = |dtype| Ok::<_, Error>(Inputs { labels: None, target: None, ..inputs(case, dtype)? });
    let expected = logits(&wide, &inference(&wide), &unlabelled(DType::F64)?)?;
    let actual = logits(&narrow, &inference(&narrow), &unlabelled(dtype)?)?;
    let (off, scale) = gap(&actual, &expected)?;
    if off > most[0] * scale {
        return Ok(Err(format!("off by {off:.1e} of {scale:.1e}")));
    }
    let grads = (gradient(&narrow, &inputs(case, dtype)?)?, gradient(&wide, &inputs(case, DType::F64)?)?);
    holds!(near("gradients", &grads.0, &grads.1, most[1]));
    let merges = case.method().traits.merges && case.except.iter().all(|(p, _)| *p != Property::Merging);
    if merges {
        narrow.merge(0, None)?;
        let merged = logits(&narrow, &inference(&narrow), &unlabelled(dtype)?)?;
        let (off, scale) = gap(&merged, &expected)?;
        // Into a packed weight it is rounded to four bits again, which on models as small as these leaves nothing to compare.
        if off > 2. * HALF * scale && dtype == DType::BF16 {
            return Ok(Err(format!("merged, off by {off:.1e} of {scale:.1e}")));
        }
        narrow.unmerge()?;
        let after = logits(&narrow, &inference(&narrow), &unlabelled(dtype)?)?;
        holds!(same("unmerged", &after, &actual));
    }
    Ok(Ok(()))
}

#[test]
fn half_precision_is_as_near_as_its_bits() {
    for_all(Property::Half, |case| {
        let narrow = super::support::base(case.base, DType::BF16)?;
        as_in_f64(case, narrow, DType::BF16, [HALF, HALF_GRADIENT])
    });
}

#[test]
fn packed_bases_are_as_their_values() {
    for_all(Property::Packed, |case| {
        // Weights that lie [in, out], and what is no decoder, stay as they are.
        let decoder = !["gpt2", "unet2d", "vit", "bert-classifier", "roberta-classifier"].contains(&case.base);
        if !decoder || case.method().dialect == Dialect::Swift {
            return Ok(Ok(()));
        }
        let packing = Quantization { packing: Packing::parse("nf4")?, skip_modules: None };
        let dir = fixtures().join("models").join(case.base);
        let (model, _) = load_model(&dir, Some(DType::F32), &Device::Cpu, None, Some(&packing))?;
        as_in_f64(case, TunedModel::new(model, true), DType::F32, [PACKED, PACKED_GRADIENT])
    });
}
