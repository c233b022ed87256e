//! Fields that many of PEFT's classes share, with one meaning for all of them.

use crate::bias::bias_of;
use crate::config::TunerConfig;
use crate::fields::{Declared, FieldType, Names, OneOrMore, Patterns};
use crate::pattern::FullMatch;
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// What every class of PEFT begins with; `peft` in a list of fields stands for all of them.
const PEFT: [&str; 7] =
    ["task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"];

/// PEFT's task types.
const TASKS: [&str; 6] = ["SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"];

type Check = fn(&str, &Json) -> Result<()>;

struct Standard {
    name: &'static str,
    doc: &'static str,
    typescript: fn() -> String,
    default: fn() -> Json,
    check: Check,
}

/// A field that is checked by its type alone.
const fn field<T: FieldType>(name: &'static str, doc: &'static str, default: fn() -> Json) -> Standard {
    Standard { name, doc, typescript: T::typescript, default, check: |name, value| T::read(name, value).map(|_| ()) }
}

const fn null() -> Json {
    Json::Null
}

const FIELDS: &[Standard] = &[
    Standard {
        check: check_task,
        ..field::<Option<String>>("task_type", "What the model is for; classifiers train their head, too.", null)
    },
    field::<Option<String>>("peft_type", "", null),
    field::<Json>("auto_mapping", "", null),
    field::<Option<String>>("peft_version", "", null),
    field::<Option<String>>("base_model_name_or_path", "", null),
    field::<Option<String>>("revision", "", null),
    field::<bool>("inference_mode", "Attaches the adapter frozen.", || Json::Bool(false)),
    Standard {
        check: check_names,
        ..field::<Option<Names>>(
            "target_modules",
            "Suffixes of module names, a regular expression for whole names, or 'all-linear'. Default: the model type's own \
             (PEFT's table).",
            null,
        )
    },
    Standard {
        check: check_names,
        ..field::<Option<Names>>("exclude_modules", "The same for modules that stay as they are.", null)
    },
    field::<Option<OneOrMore<u64>>>("layers_to_transform", "Numbers of the layers that are adapted.", null),
    Standard {
        check: check_layers_pattern,
        ..field::<Option<Names>>("layers_pattern", "What the list of layers is called, with `layersToTransform`.", null)
    },
    field::<Option<Vec<String>>>(
        "modules_to_save",
        "Modules of which each adapter trains and saves a copy of its own.",
        null,
    ),
    Standard {
        check: |_, value| bias_of(value).map(|_| ()),
        ..field::<String>("bias", "Which biases train, too: 'none', 'all', or the adapted layers' ('lora_only', …).", || {
            "none".into()
        })
    },
    field::<bool>("fan_in_fan_out", "Whether weights lie `[in, out]`; corrected to what the layers are.", || {
        Json::Bool(false)
    }),
    Standard {
        check: check_rank_pattern,
        ..field::<Patterns<f64>>("rank_pattern", "Ranks by patterns that match the ends of module names.", || {
            Json::Object(Default::default())
        })
    },
    Standard {
        check: check_alpha_pattern,
        ..field::<Patterns<f64>>("alpha_pattern", "Alphas by patterns that match the ends of module names.", || {
            Json::Object(Default::default())
        })
    },
];

fn find(name: &str) -> &'static Standard {
    FIELDS.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name} is no standard field"))
}

/// The names of a list of fields, `peft` written out.
fn expand(names: &[&'static str]) -> Vec<&'static str> {
    names.iter().flat_map(|&n| if n == "peft" { PEFT.to_vec() } else { vec![n] }).collect()
}

/// The declarations of these fields.
pub fn declared(names: &[&'static str]) -> Vec<Declared> {
    let one = |name: &&'static str| {
        let f = find(name);
        let (typescript, default) = ((f.typescript)(), (f.default)());
        Declared { name: f.name, doc: f.doc.to_owned(), typescript, default, required: false }
    };
    expand(names).iter().map(one).collect()
}

/// Checks these fields of a configuration, and how they go together.
pub fn check(config: &TunerConfig, names: &[&'static str]) -> Result<()> {
    for name in &expand(names) {
        (find(name).check)(name, config.fields.get(*name).unwrap_or(&Json::Null))?;
    }
    if config.dialect != crate::config::Dialect::Peft {
        return Ok(());
    }
    let pattern =
        matches!(config.get("target_modules"), Some(Json::String(s)) if !s.eq_ignore_ascii_case("all-linear"));
    for name in ["layers_to_transform", "layers_pattern"].into_iter().filter(|n| names.contains(n)) {
        if pattern && config.is_given(name) {
            return Err(Error::config(name, "cannot be used when target_modules is a regular expression"));
        }
    }
    if names.contains(&"layers_pattern") && config.is_given("layers_pattern") && !config.is_given("layers_to_transform")
    {
        return Err(Error::config("layers_pattern", "needs layers_to_transform"));
    }
    Ok(())
}

fn check_task(name: &str, value: &Json) -> Result<()> {
    match Option::<String>::read(name, value)? {
        Some(task) if !TASKS.contains(&task.as_str()) => {
            Err(Error::config(name, format!("{:?} is none of {}", printable(&task, 40), TASKS.join(", "))))
        }
        _ => Ok(()),
    }
}

/// A pattern is checked where it is written, so that a bad one never reaches the model.
fn check_names(name: &str, value: &Json) -> Result<()> {
    match Option::<Names>::read(name, value)? {
        Some(Names::Text(pattern)) if !pattern.eq_ignore_ascii_case("all-linear") => {
            FullMatch::new(&pattern, name).map(|_| ())
        }
        _ => Ok(()),
    }
}

fn check_layers_pattern(name: &str, value: &Json) -> Result<()> {
    let list = match Option::<Names>::read(name, value)? {
        Some(Names::List(list)) => list,
        Some(Names::Text(text)) => vec![text],
        None => Vec::new(),
    };
    list.iter().try_for_each(|p| FullMatch::new(p, name).map(|_| ()))
}

fn positive(name: &str, value: &Json) -> Result<Patterns<f64>> {
    let patterns = Patterns::<f64>::read(name, value)?;
    for (pattern, x) in &patterns.0 {
        let field = format!("{name}.{}", printable(pattern, 60));
        if !(x.is_finite() && *x > 0.) {
            return Err(Error::config(field, format!("expected a positive number, found {x}")));
        }
        FullMatch::new(&format!(r"(?:.*\.)?(?:{pattern})"), name)?;
    }
    Ok(patterns)
}

fn check_rank_pattern(name: &str, value: &Json) -> Result<()> {
    let patterns = positive(name, value)?;
    match patterns.0.iter().find(|(_, v)| v.fract() != 0. || *v > (1 << 20) as f64) {
        Some((pattern, v)) => {
            Err(Error::config(format!("{name}.{}", printable(pattern, 60)), format!("expected an integer, found {v}")))
        }
        None => Ok(()),
    }
}

fn check_alpha_pattern(name: &str, value: &Json) -> Result<()> {
    positive(name, value).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standard_default_passes_its_own_check() {
        for f in FIELDS {
            (f.check)(f.name, &(f.default)()).unwrap();
        }
    }
}
