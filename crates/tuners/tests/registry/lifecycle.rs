//! What comes of renaming and swapping.

use super::support::{gap, inference, logits, Temp};
use super::table::{Case, Property};
use super::{for_all, holds, same, stir, State};
use std::path::Path;
use swift_tuners_nn::{Error, Result};
use swift_tuners_tuners::config::Dialect;
use swift_tuners_tuners::formats::{FromPretrainedOptions, NameSelection, SaveOptions};
use swift_tuners_tuners::lifecycle::PrepareOptions;
use swift_tuners_tuners::TunedModel;

fn names(model: &TunedModel) -> Vec<String> {
    let naming = model.naming(model.flavor.prefix());
    model.model.parameters().into_iter().map(|(n, _)| naming.full(&n)).collect()
}

fn save(model: &TunedModel, dir: &Path) -> Result<()> {
    model.save_pretrained(dir, &SaveOptions { safe: true, max_shard: u64::MAX, ..Default::default() }).map(|_| ())
}

#[test]
fn a_renamed_adapter_is_as_one_of_that_name() {
    for_all(Property::Renaming, |case| {
        let mut model = case.prepared(&["a"], true)?;
        let before = State::of(&model)?;
        if case.method().dialect == Dialect::Swift {
            let refused = matches!(model.rename("a", "b"), Err(Error::Invalid(_)));
            holds!(before.same(&State::of(&model)?, "refused"));
            return Ok(if refused { Ok(()) } else { Err("SWIFT's names are not refused".into()) });
        }
        let inputs = case.unlabelled()?;
        let output = logits(&model, &inference(&model), &inputs)?;
        let wrong = [model.rename("c", "b"), model.rename("a", "../b")];
        if wrong.iter().any(|r| r.is_ok()) {
            return Ok(Err("an unknown adapter, or a name that is none, is not refused".into()));
        }
        holds!(before.same(&State::of(&model)?, "refused"));
        model.rename("a", "b")?;
        holds!(same("renamed", &logits(&model, &inference(&model), &inputs)?, &output));
        if names(&model) != names(&case.prepared(&["b"], false)?) {
            return Ok(Err("its names are not those of an adapter that is called so".into()));
        }
        let temp = Temp::new()?;
        save(&model, &temp.0)?;
        let mut again = case.untuned()?;
        let strict = FromPretrainedOptions { strict: true, ..Default::default() };
        again.from_pretrained(0, &temp.0, &strict)?;
        if again.adapters().keys().ne(["b"]) {
            return Ok(Err("it is saved under its former name".into()));
        }
        model.rename("b", "a")?;
        holds!(before.same(&State::of(&model)?, "and back"));
        Ok(Ok(()))
    });
}

/// Another adapter of the case in a folder, and what the model gives with it alone.
fn other(case: &Case, dir: &Path) -> Result<swift_tuners_nn::Array> {
    let mut model = case.untuned()?;
    model.prepare(0, &[("default".into(), case.config.clone())], &PrepareOptions { seed: 1, ..Default::default() })?;
    stir(&model, "default", false, 20)?;
    save(&model, dir)?;
    let mut alone = case.untuned()?;
    let options = FromPretrainedOptions {
        names: NameSelection::Named(vec![("default".into(), "a".into())]),
        strict: true,
        ..Default::default()
    };
    alone.from_pretrained(0, dir, &options)?;
    logits(&alone, &inference(&alone), &case.unlabelled()?)
}

#[test]
fn a_swapped_adapter_is_as_one_that_is_loaded() {
    for_all(Property::Swapping, |case| {
        if case.method().dialect == Dialect::Swift {
            return Ok(Ok(()));
        }
        let (inputs, temp) = (case.unlabelled()?, Temp::new()?);
        let dir = temp.0.join("b");
        let expected = other(case, &dir)?;
        let mut model = case.prepared(&["a"], false)?;
        let before = logits(&model, &inference(&model), &inputs)?;
        if case.method().traits.has_tensors && gap(&before, &expected)?.0 < 1e-3 {
            return Ok(Err("both adapters do the same, which shows nothing".into()));
        }
        let strict = FromPretrainedOptions { strict: true, ..Default::default() };
        // A folder that cannot be taken changes nothing.
        let (state, broken) = (State::of(&model)?, temp.0.join("broken"));
        std::fs::create_dir_all(&broken).expect("a folder");
        std::fs::copy(dir.join("adapter_config.json"), broken.join("adapter_config.json")).expect("a file");
        std::fs::write(broken.join("adapter_model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").expect("a file");
        if case.method().traits.has_tensors && model.hotswap(0, "a", &broken, &strict).is_ok() {
            return Ok(Err("a file without tensors is not refused".into()));
        }
        if model.hotswap(0, "z", &dir, &strict).is_ok() {
            return Ok(Err("an unknown adapter is not refused".into()));
        }
        holds!(state.same(&State::of(&model)?, "refused"));
        holds!(same("refused", &logits(&model, &inference(&model), &inputs)?, &before));
        model.hotswap(0, "a", &dir, &strict)?;
        holds!(same("swapped", &logits(&model, &inference(&model), &inputs)?, &expected));
        if model.adapters().keys().ne(["a"]) || model.active_names(0) != ["a"] {
            return Ok(Err("it has not the name, or is not active".into()));
        }
        // In the place of another type, between others.
        if case.method().traits.virtual_tokens {
            return Ok(Ok(()));
        }
        let lora = serde_json::json!({ "peft_type": "LORA", "r": 2, "target_modules": "all-linear", "init_lora_weights": false });
        let mut mixed = case.untuned()?;
        for name in ["first", "a", "last"] {
            mixed.prepare(0, &[(name.into(), lora.clone())], &PrepareOptions::default())?;
        }
        mixed.set_adapter(0, &["a".into()], false)?;
        let state = State::of(&mixed)?;
        match mixed.hotswap(0, "a", &dir, &strict) {
            Ok(()) => {}
            // What is alone on its model cannot come between others.
            Err(Error::Config { .. }) => return Ok(state.same(&State::of(&mixed)?, "refused beside others")),
            Err(e) => return Err(e),
        }
        let close = gap(&logits(&mixed, &inference(&mixed), &inputs)?, &expected)?;
        Ok(if mixed.adapters().keys().eq(["first", "a", "last"]) && close.0 <= 1e-9 * close.1 {
            Ok(())
        } else {
            Err(format!("in another type's place: off by {:.1e}", close.0))
        })
    });
}
