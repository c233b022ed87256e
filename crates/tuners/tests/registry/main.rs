//! What must hold for every registered kind of tuner, over the configurations in `table.rs`. A kind without one fails, so that the
//! next tuner is tested by being registered.
//!
//! All is computed in f64, where finite differences are exact to nine digits and a wrong term cannot hide in rounding.

mod bases;
mod lifecycle;
#[path = "../support/mod.rs"]
mod support;
mod table;

use candle_core::{DType, Device};
use serde_json::Value as Json;
use support::{base, bits, by_rows, gap, inference, logits, loss_of, only, Temp};
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::module::{named_nodes, saved_nodes, Ints, Node};
use swift_tuners_nn::{Array, Context, Error, Inputs, Param, Result};
use swift_tuners_tuners::config::Dialect;
use swift_tuners_tuners::formats::{FromPretrainedOptions, SaveOptions};
use swift_tuners_tuners::lifecycle::PrepareOptions;
use swift_tuners_tuners::method::Method;
use swift_tuners_tuners::registry::{defaults, find, parse, Unknown, METHODS};
use swift_tuners_tuners::{Flavor, TunedModel};
use table::{cases, Case, Property};

/// Relative, for what is computed in two ways: merged and apart, together and row by row.
const CLOSE: f64 = 1e-10;
/// Of a finite difference with a step of [`STEP`], relative to the larger of both and of 0.01.
const DERIVED: f64 = 1e-6;
const STEP: f64 = 1e-6;

// ── The harness ──────────────────────────────────────────────────────────────────────────────────────────────────────

impl Case {
    fn method(&self) -> &'static Method {
        let named = |d: Dialect| self.config[d.field()].as_str().map(|name| find(d, name).unwrap());
        named(Dialect::Swift).or_else(|| named(Dialect::Peft)).expect("swift_type or peft_type")
    }

    /// The untuned model.
    fn untuned(&self) -> Result<TunedModel> {
        base(self.base, DType::F64)
    }

    /// With adapters of these names that do something, each its own. `shared`: so do the base's parameters that train with them.
    fn prepared(&self, names: &[&str], shared: bool) -> Result<TunedModel> {
        let mut model = self.untuned()?;
        for (i, name) in names.iter().enumerate() {
            let options = PrepareOptions { seed: i as u64, ..Default::default() };
            model.prepare(0, &[((*name).to_owned(), self.config.clone())], &options)?;
            stir(&model, name, shared, 10 + i as u64)?;
        }
        Ok(model)
    }

    fn inputs(&self) -> Result<Inputs> {
        let mut rng = Rng::new(3);
        let mut random =
            |shape: &[usize]| rng.uniform_array(shape, 1., DType::F64, &Device::Cpu).map(Into::into).map(Some);
        let ids = vec![5, 9, 2, 77, 31, 4, 8, 1, 150, 3, 3, 60, 12, 99, 7, 40, 21, 118];
        let tokens = Ints::new(vec![3, 6], ids)?;
        Ok(match self.base {
            "unet2d" => Inputs {
                sample: random(&[3, 4, 8, 8])?,
                timestep: Some(Array::new(&[10f64, 3., 7.], &Device::Cpu)?.into()),
                encoder_hidden_states: random(&[3, 5, 32])?,
                ..Default::default()
            },
            "vit" => Inputs {
                pixel_values: random(&[3, 3, 32, 32])?,
                labels: Some(Ints::new(vec![3], vec![1, 3, 0])?),
                ..Default::default()
            },
            "t5" => Inputs {
                input_ids: Some(tokens.clone()),
                decoder_input_ids: Some(tokens.clone()),
                labels: Some(tokens),
                task_ids: Some(Ints::new(vec![3], vec![1, 0, 1])?),
                ..Default::default()
            },
            "bert-classifier" | "roberta-classifier" => Inputs {
                input_ids: Some(tokens),
                labels: Some(Ints::new(vec![3], vec![1, 0, 2])?),
                ..Default::default()
            },
            _ => {
                let task_ids = Some(Ints::new(vec![3], vec![1, 0, 1])?);
                Inputs { input_ids: Some(tokens.clone()), labels: Some(tokens), task_ids, ..Default::default() }
            }
        })
    }

    fn unlabelled(&self) -> Result<Inputs> {
        Ok(Inputs { labels: None, target: None, ..self.inputs()? })
    }
}

/// Moves an adapter away from where it starts, which is mostly the identity.
fn stir(model: &TunedModel, name: &str, shared: bool, seed: u64) -> Result<()> {
    stir_by(model, name, seed, [0.2, if shared { 0.05 } else { 0. }])
}

/// By as much at most: its own tensors, and those of the base that train with it.
fn stir_by(model: &TunedModel, name: &str, seed: u64, most: [f64; 2]) -> Result<()> {
    let mut rng = Rng::new(seed);
    for slot in model.slots(name)? {
        let moved = if slot.is_own() && !slot.is_buffer() {
            most[0]
        } else if slot.is_base_trained() && most[1] > 0. {
            most[1]
        } else {
            continue;
        };
        let by = rng.uniform_array(&slot.param.shape(), moved, DType::F64, &Device::Cpu)?;
        slot.param.set(&(slot.param.array()?.to_dtype(DType::F64)? + by)?)?;
    }
    Ok(())
}

type Outcome = std::result::Result<(), String>;

/// Runs a property over the table. What is excepted there must not hold.
fn for_all(property: Property, holds: impl Fn(&Case) -> Result<Outcome>) {
    let mut problems = Vec::new();
    for case in cases() {
        let method = case.method();
        let outcome = holds(&case).unwrap_or_else(|e| Err(e.to_string()));
        let exception = case.except.iter().find(|(p, _)| *p == property);
        let problem = match (outcome, exception) {
            (Ok(()), None) | (Err(_), Some(_)) => continue,
            (Err(problem), None) => problem,
            (Ok(()), Some((_, why))) => format!("holds, though {why}"),
        };
        problems.push(format!("{:?} {} {}: {problem}", method.dialect, method.name, case.name));
    }
    assert!(problems.is_empty(), "{property:?}\n{}", problems.join("\n"));
}

fn same(what: &str, actual: &Array, expected: &Array) -> Outcome {
    if actual.dims() == expected.dims() && bits(actual).ok() == bits(expected).ok() {
        Ok(())
    } else {
        let off = gap(actual, expected).map_or(f64::NAN, |(off, _)| off);
        Err(format!("{what}: not the same bits, off by {off:.2e}"))
    }
}

fn close(what: &str, actual: &Array, expected: &Array) -> Outcome {
    let (off, scale) = gap(actual, expected).map_err(|e| e.to_string())?;
    if off <= CLOSE * scale {
        Ok(())
    } else {
        Err(format!("{what}: off by {off:.2e} of {scale:.2e}"))
    }
}

/// What a property needs of a step: an error of the library is a problem of the case.
macro_rules! holds {
    ($outcome:expr) => {
        if let Err(problem) = $outcome {
            return Ok(Err(problem));
        }
    };
}
pub(crate) use holds;

fn row(array: &Array, at: usize) -> Result<Array> {
    Ok(array.narrow(0, at, 1)?)
}

/// All that a call could leave a trace in.
#[derive(PartialEq)]
struct State {
    params: Vec<(String, bool, Vec<u64>)>,
    /// Of each place, how many tuners it has and for which adapters.
    tuners: Vec<(String, Vec<usize>)>,
    adapters: Vec<String>,
    active: Vec<String>,
    flavor: Flavor,
    config: Json,
}

impl State {
    fn of(model: &TunedModel) -> Result<Self> {
        let params = model.model.parameters().into_iter();
        let nodes = saved_nodes(&model.model.root).into_iter();
        Ok(Self {
            params: params.map(|(n, p)| Ok((n, p.requires_grad(), bits(&p.array()?)?))).collect::<Result<_>>()?,
            tuners: nodes.map(|(n, node)| (n, node.tuners.iter().map(|t| t.adapters().len()).collect())).collect(),
            adapters: model.adapters().keys().cloned().collect(),
            active: model.active_names(0),
            flavor: model.flavor,
            config: model.model.config.clone(),
        })
    }

    /// Where the other differs.
    fn same(&self, other: &Self, what: &str) -> Outcome {
        let param =
            self.params.iter().zip(&other.params).find(|(a, b)| a != b).map(|(a, b)| format!("{} and {}", a.0, b.0));
        let tuner =
            self.tuners.iter().zip(&other.tuners).find(|(a, b)| a != b).map(|(a, _)| format!("the tuners of {}", a.0));
        if self == other {
            Ok(())
        } else {
            Err(format!("{what}: {}", param.or(tuner).unwrap_or_else(|| "adapters, flavor or config".into())))
        }
    }
}

// ── The properties ───────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn every_registered_kind_has_a_configuration() {
    let cases = cases();
    for method in METHODS {
        let here = cases.iter().any(|c| std::ptr::eq(c.method(), method));
        assert!(here, "{:?} {}: table.rs has no configuration of it", method.dialect, method.name);
    }
}

/// The loss in training, with the same random numbers each time.
fn training_loss(model: &TunedModel, inputs: &Inputs, grad: bool) -> Result<swift_tuners_nn::Tensor> {
    let cx = Context { active: model.active_ids(0), training: true, grad, seed: 7, ..Context::default() };
    loss_of(&model.model.forward(&cx, inputs)?)
}

/// The loss with `param` moved by `step` along `direction`.
fn moved_loss(model: &TunedModel, inputs: &Inputs, param: &Param, direction: &Array, step: f64) -> Result<f64> {
    let before = param.array()?.copy()?;
    param.set(&(&before + direction.affine(step, 0.)?)?)?;
    let loss = training_loss(model, inputs, false)?.to_scalar_f64();
    param.set(&before)?;
    loss
}

/// Along a random direction for each tensor, which all of its entries have a part in.
#[test]
fn gradients_are_those_of_finite_differences() {
    for_all(Property::Gradients, |case| {
        let model = case.prepared(&["a"], true)?;
        let inputs = case.inputs()?;
        training_loss(&model, &inputs, true)?.backward()?;
        let parameters = model.model.parameters().into_iter().filter(|(_, p)| p.requires_grad());
        let derived = |name: &str| !case.not_derived.iter().any(|(part, _)| name.contains(part));
        let mut rng = Rng::new(17);
        let (mut checked, mut moving) = (0, 0);
        for (name, param) in parameters.filter(|(name, _)| derived(name)) {
            let direction = rng.uniform_array(&param.shape(), 1., DType::F64, &Device::Cpu)?;
            let along = match param.grad() {
                Some(grad) => (grad.to_dtype(DType::F64)? * &direction)?.sum_all()?.to_scalar::<f64>()?,
                None => 0.,
            };
            let moved = |step: f64| moved_loss(&model, &inputs, param, &direction, step);
            let expected = (moved(STEP)? - moved(-STEP)?) / (2. * STEP);
            let scale = expected.abs().max(along.abs()).max(0.01);
            if (along - expected).abs() > DERIVED * scale {
                return Ok(Err(format!("{name}: {along} for {expected}")));
            }
            checked += 1;
            moving += usize::from(along != 0.);
        }
        // Of some the loss does not depend on each: a key's bias, a mask's padding.
        Ok(if moving * 2 < checked || checked == 0 {
            Err(format!("{moving} of {checked} gradients are other than zero"))
        } else {
            Ok(())
        })
    });
}

#[test]
fn merging_keeps_the_output_and_unmerging_restores_every_bit() {
    for_all(Property::Merging, |case| {
        let mut model = case.prepared(&["a"], true)?;
        let inputs = case.unlabelled()?;
        let plain = logits(&case.untuned()?, &only(&[]), &inputs)?;
        let apart = logits(&model, &inference(&model), &inputs)?;
        let before = State::of(&model)?;
        if case.method().dialect == Dialect::Peft && !case.method().traits.merges {
            if !matches!(model.merge(0, None), Err(Error::UnsupportedTuner(_))) {
                return Ok(Err("it cannot be merged, and that is not refused".into()));
            }
            return Ok(before.same(&State::of(&model)?, "refused merging"));
        }
        model.merge(0, None)?;
        let merged = logits(&model, &inference(&model), &inputs)?;
        if !case.method().traits.merges {
            holds!(same("nothing to merge", &merged, &apart));
            return Ok(before.same(&State::of(&model)?, "nothing to merge"));
        }
        holds!(close("merged", &merged, &apart));
        if gap(&apart, &plain)?.0 < 1e-3 {
            return Ok(Err("the adapter does nothing, which shows nothing".into()));
        }
        if before == State::of(&model)? {
            return Ok(Err("no weight has changed".into()));
        }
        model.unmerge()?;
        holds!(before.same(&State::of(&model)?, "unmerged"));
        holds!(same("unmerged", &logits(&model, &inference(&model), &inputs)?, &apart));
        match model.flavor {
            Flavor::Peft => model.merge_and_unload_peft(0, None, true)?,
            _ => model.merge_and_unload(0, None)?,
        }
        holds!(close("merged and unloaded", &logits(&model, &only(&[]), &inputs)?, &apart));
        let tuned = |node: &Node| !node.tuners.is_empty();
        let root = &model.model.root;
        if case.method().dialect == Dialect::Peft && (tuned(root) || named_nodes(root).iter().any(|(_, n)| tuned(n))) {
            return Ok(Err("unloading leaves a tuner behind".into()));
        }
        let names = |m: &TunedModel| m.model.parameters().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        Ok(if names(&model) == names(&case.untuned()?) {
            Ok(())
        } else {
            Err("unloading leaves tensors behind".into())
        })
    });
}

#[test]
fn saving_and_loading_keeps_every_bit() {
    for_all(Property::Files, |case| {
        let dialect = case.method().dialect;
        // Under the name that PEFT puts into the root folder, and another; SWIFT's also as PEFT writes them.
        let ways =
            [("default", false, true), ("other", false, true), ("default", true, true), ("default", false, false)];
        for (name, peft_format, safe) in ways {
            // SWIFT refuses to load what is no safetensors file.
            if peft_format && dialect == Dialect::Peft || !safe && dialect == Dialect::Swift {
                continue;
            }
            let what = format!("{name}, peft_format {peft_format}, safe {safe}");
            let model = case.prepared(&[name], true)?;
            let inputs = case.unlabelled()?;
            let before = logits(&model, &inference(&model), &inputs)?;
            let temp = Temp::new()?;
            let dir = temp.0.join("saved");
            model
                .save_pretrained(&dir, &SaveOptions { peft_format, safe, max_shard: u64::MAX, ..Default::default() })?;
            let mut again = case.untuned()?;
            let options = FromPretrainedOptions { strict: true, seed: 99, ..Default::default() };
            if let Err(e) = again.from_pretrained(0, &dir, &options) {
                return Ok(Err(format!("{what}: {e}")));
            }
            holds!(same(&what, &logits(&again, &inference(&again), &inputs)?, &before));
        }
        Ok(Ok(()))
    });
}

#[test]
fn rows_with_adapters_of_their_own_are_as_each_alone() {
    for_all(Property::Rows, |case| {
        let traits = case.method().traits;
        if !traits.by_rows {
            let model = case.prepared(&["a"], true)?;
            return Ok(match by_rows(&model, &["a", "__base__", "a"]) {
                Err(Error::UnsupportedTuner(_)) => Ok(()),
                _ => Err("runs on whole batches only, and rows are not refused".into()),
            });
        }
        let model = case.prepared(&["a", "b"], true)?;
        let inputs = case.unlabelled()?;
        let alone = |name: &str| -> Result<Array> {
            let ids = if name == "__base__" { Vec::new() } else { model.ids(&[name.to_owned()])?.to_vec() };
            logits(&model, &only(&ids), &inputs)
        };
        if gap(&alone("a")?, &alone("b")?)?.0 < 1e-3 {
            return Ok(Err("both adapters do the same, which shows nothing".into()));
        }
        for names in [["a", "__base__", "b"], ["b", "a", "a"], ["__base__", "__base__", "a"]] {
            let together = logits(&model, &by_rows(&model, &names)?, &inputs)?;
            for (i, name) in names.iter().enumerate() {
                holds!(close(&format!("row {i} of {names:?}"), &row(&together, i)?, &row(&alone(name)?, i)?));
            }
        }
        Ok(Ok(()))
    });
}

#[test]
fn inactive_and_deleted_adapters_leave_every_bit_of_the_base() {
    for_all(Property::Inactive, |case| {
        let inputs = case.unlabelled()?;
        let untuned = case.untuned()?;
        let plain = logits(&untuned, &only(&[]), &inputs)?;
        // What trains of the base itself stays as it is.
        let mut model = case.prepared(&["a"], false)?;
        if case.method().traits.has_tensors && gap(&logits(&model, &inference(&model), &inputs)?, &plain)?.0 < 1e-3 {
            return Ok(Err("the active adapter does nothing, which shows nothing".into()));
        }
        model.set_active(0, &[], None)?;
        holds!(same("inactive", &logits(&model, &inference(&model), &inputs)?, &plain));
        model.delete("a")?;
        holds!(same("deleted", &logits(&model, &inference(&model), &inputs)?, &plain));
        let tuned = |node: &Node| !node.tuners.is_empty();
        let root = &model.model.root;
        if case.method().dialect == Dialect::Peft && (tuned(root) || named_nodes(root).iter().any(|(_, n)| tuned(n))) {
            return Ok(Err("unloading leaves a tuner behind".into()));
        }
        let names = |m: &TunedModel| m.model.parameters().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        Ok(if names(&model) == names(&untuned) { Ok(()) } else { Err("deleting leaves tensors behind".into()) })
    });
}

#[test]
fn an_attach_that_fails_leaves_no_trace() {
    for_all(Property::Failing, |case| {
        let dialect = case.method().dialect;
        let lora = |targets: Json| serde_json::json!({ dialect.field(): "LORA", "r": 2, "target_modules": targets });
        let nowhere = || ("nowhere".to_owned(), lora(serde_json::json!(["no_such_module"])));
        let own = || ("own".to_owned(), case.config.clone());
        let mut calls = vec![("the second fails", vec![own(), nowhere()])];
        if (case.method().fields)().iter().any(|f| f.name == "target_modules") {
            let mut config = case.config.clone();
            config["target_modules"] = "no_such_module".into();
            calls.push(("its own target is nowhere", vec![("own".to_owned(), config)]));
        }
        for tuned in [false, true] {
            let mut model = case.untuned()?;
            if tuned {
                model.prepare(0, &[("there".into(), lora("all-linear".into()))], &PrepareOptions::default())?;
            }
            let before = State::of(&model)?;
            for (what, configs) in &calls {
                if model.prepare(0, configs, &PrepareOptions::default()).is_ok() {
                    return Ok(Err(format!("{what}: it did not")));
                }
                holds!(before.same(&State::of(&model)?, what));
            }
        }
        Ok(Ok(()))
    });
}

#[test]
fn every_field_has_a_default_that_passes_and_a_misspelt_one_is_refused_with_the_nearest() {
    let cases = cases();
    for method in METHODS {
        let case = cases.iter().find(|c| std::ptr::eq(c.method(), method)).unwrap();
        let at = |what: &str| format!("{:?} {}: {what}", method.dialect, method.name);
        let defaults = defaults(method);
        let fields = (method.fields)();
        for (i, field) in fields.iter().enumerate() {
            let at = |what: &str| at(&format!("{} {what}", field.name));
            assert!(fields[..i].iter().all(|f| f.name != field.name), "{}", at("is declared twice"));
            let Some(default) = defaults.get(field.name) else { panic!("{}", at("has no default")) };
            // One of them says where the blocks are, so that neither can be left out of a configuration without the other.
            let either =
                ["model_type", "layer_key"].contains(&field.name) && ["LLAMAPRO", "reft"].contains(&method.name);
            if field.name == method.dialect.field() || either {
                continue;
            }
            let mut given = case.config.clone();
            if field.required {
                given.as_object_mut().unwrap().remove(field.name);
                assert!(parse(&given, Unknown::Refuse).is_err(), "{}", at("is required and may be missing"));
                continue;
            }
            given[field.name] = default.clone();
            if let Err(e) = parse(&given, Unknown::Refuse) {
                panic!("{}", at(&format!("refuses its own default: {e}")));
            }
            let mut misspelt = case.config.clone();
            misspelt[format!("{}_", field.name)] = default.clone();
            match parse(&misspelt, Unknown::Refuse) {
                Err(Error::Config { message, .. }) => {
                    assert!(message.ends_with(&format!("the nearest is {}", field.name)), "{}", at(&message));
                }
                _ => panic!("{}", at("may be misspelt")),
            }
        }
    }
}
