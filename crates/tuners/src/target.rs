//! Which modules a configuration means: PEFT's rules for `target_modules` and its relatives.

use crate::config::TunerConfig;
use crate::fields::{FieldType, Required};
use crate::nearest::{meant_by, nearest};
use crate::pattern::FullMatch;
use serde_json::Value as Json;
use std::collections::HashMap;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{for_each_node_mut, model_nodes, named_nodes, Node, NodeId, Weights};
use swift_tuners_nn::{Error, Model, Result};

/// A place that a tuner goes to.
#[derive(Clone, Debug)]
pub struct Place {
    pub id: NodeId,
    pub path: String,
}

/// SWIFT's own way of naming modules: a regular expression for whole names, or a list of endings.
#[derive(Clone, Debug)]
pub enum SwiftRule {
    Pattern(SwiftPattern),
    /// Names that end so; no dot is needed before.
    Endings(Vec<String>),
}

/// A regular expression for whole names.
#[derive(Clone, Debug)]
pub struct SwiftPattern {
    pub text: String,
    regex: FullMatch,
}

impl FieldType for SwiftPattern {
    const WANTED: &'static str = "a regular expression";
    fn typescript() -> String {
        "string".into()
    }
    fn of(value: &Json) -> Option<Self> {
        Self::read("", value).ok()
    }
    fn json(&self) -> Json {
        self.text.as_str().into()
    }
    fn read(name: &str, value: &Json) -> Result<Self> {
        let text = <Required<String>>::read(name, value)?.0;
        let regex = FullMatch::new(&text, name)?;
        Ok(Self { text, regex })
    }
}

impl FieldType for SwiftRule {
    const WANTED: &'static str = "a regular expression or a list of strings";
    fn typescript() -> String {
        "string | string[]".into()
    }
    fn of(value: &Json) -> Option<Self> {
        Self::read("", value).ok()
    }
    fn json(&self) -> Json {
        match self {
            Self::Pattern(pattern) => pattern.json(),
            Self::Endings(list) => list.json(),
        }
    }
    fn read(name: &str, value: &Json) -> Result<Self> {
        match value {
            Json::Array(_) => <Required<Vec<String>>>::read(name, value).map(|list| Self::Endings(list.0)),
            _ => SwiftPattern::read(name, value).map(Self::Pattern),
        }
    }
}

impl SwiftPattern {
    pub fn matches(&self, path: &str) -> Result<bool> {
        self.regex.matches(path)
    }

    /// As [`SwiftRule::places`].
    pub fn places(&self, model: &Model, field: &str) -> Result<Vec<Place>> {
        SwiftRule::Pattern(self.clone()).places(model, field)
    }
}

impl SwiftRule {
    pub fn matches(&self, path: &str) -> Result<bool> {
        match self {
            Self::Pattern(p) => p.matches(path),
            Self::Endings(list) => Ok(list.iter().any(|e| path.ends_with(e.as_str()))),
        }
    }

    /// The model's modules that match, in its order; the root counts under `""`. Fails with [`Error::Target`] when there are
    /// none.
    pub fn places(&self, model: &Model, field: &str) -> Result<Vec<Place>> {
        let nodes = model_nodes(&model.root);
        let mut out = Vec::new();
        for (path, node) in &nodes {
            if self.matches(path)? {
                out.push(Place { id: node.id(), path: path.clone() });
            }
        }
        if out.is_empty() {
            return Err(self.nothing_found(model, field));
        }
        Ok(out)
    }

    /// The error that says what was looked for and what comes close.
    pub fn nothing_found(&self, model: &Model, field: &str) -> Error {
        let wanted = match self {
            Self::Pattern(pattern) => vec![pattern.text.clone()],
            Self::Endings(list) => list.clone(),
        };
        nothing_found(model, field, &self.json(), &wanted)
    }
}

/// The error that says what was looked for and what comes close.
pub fn nothing_found(model: &Model, field: &str, shown: &Json, wanted: &[String]) -> Error {
    let nodes = model_nodes(&model.root);
    let names: Vec<&str> = nodes.iter().map(|(n, _)| n.as_str()).collect();
    Error::Target {
        pattern: format!("{field} {}", printable(&shown.to_string(), 120)),
        nearest: nearest(wanted, &names),
        hint: shown.as_str().and_then(|pattern| meant_by(pattern, &names)),
    }
}

/// SWIFT's table of where an architecture keeps its parts; `{}` stands for a block's number.
#[derive(Clone, Debug)]
pub struct KeyMapping(pub Json);

impl FieldType for KeyMapping {
    const WANTED: &'static str = "an object of paths";
    fn typescript() -> String {
        "ModelKeyMapping".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.is_object().then(|| Self(value.clone()))
    }
    fn json(&self) -> Json {
        self.0.clone()
    }
}

impl KeyMapping {
    pub fn get(&self, part: &str) -> Option<&str> {
        self.0.get(part)?.as_str()
    }
}

/// Calls `f` on the node of every place, with the place's index. Stops at the first failure.
pub fn attach_at(root: &mut Node, places: &[Place], mut f: impl FnMut(usize, &mut Node) -> Result<()>) -> Result<()> {
    let by_id: HashMap<NodeId, Vec<usize>> = places.iter().enumerate().fold(HashMap::new(), |mut map, (i, p)| {
        map.entry(p.id).or_insert_with(Vec::new).push(i);
        map
    });
    let (mut failed, mut met) = (None, 0);
    for_each_node_mut(root, &mut |node| {
        for &i in by_id.get(&node.id()).into_iter().flatten() {
            if failed.is_none() {
                failed = f(i, node).err();
                met += 1;
            }
        }
    });
    match failed {
        Some(e) => Err(e),
        None if met < places.len() => {
            Err(Error::Invalid(format!("{} of {} places were found again", met, places.len())))
        }
        None => Ok(()),
    }
}

/// `name` is `entry` or ends with a dot and it.
pub fn has_suffix(name: &str, entry: &str) -> bool {
    name.strip_suffix(entry).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

enum Rule {
    Pattern(FullMatch),
    Suffixes(Vec<String>),
}

impl Rule {
    fn new(config: &TunerConfig, field: &str) -> Result<Option<Self>> {
        Ok(match config.get(field) {
            None => None,
            Some(Json::String(pattern)) => Some(Self::Pattern(FullMatch::new(pattern, field)?)),
            Some(_) => config.texts(field)?.map(Self::Suffixes),
        })
    }

    fn matches(&self, name: &str) -> Result<bool> {
        match self {
            Self::Pattern(p) => p.matches(name),
            Self::Suffixes(list) => Ok(list.iter().any(|s| has_suffix(name, s))),
        }
    }
}

/// The paths of the modules that LoRA-like configurations adapt, in the model's order.
///
/// `target_modules`: a list by suffix, a string by full match, or `all-linear`.
/// `exclude_modules` wins; nothing at or below a module of `modules_to_save` is adapted; `layers_to_transform` and
/// `layers_pattern` narrow a list (not a pattern). Fails with [`Error::Target`] when nothing is left.
pub fn resolve(model: &Model, config: &TunerConfig, modules_to_save: &[String]) -> Result<Vec<String>> {
    let nodes = named_nodes(&model.root);
    let all_linear =
        matches!(config.get("target_modules"), Some(Json::String(s)) if s.eq_ignore_ascii_case("all-linear"));
    let rule = if all_linear { None } else { Rule::new(config, "target_modules")? };
    if rule.is_none() && !all_linear {
        return Err(Error::config("target_modules", "missing"));
    }
    let exclude = Rule::new(config, "exclude_modules")?;
    let layers = Layers::new(config)?;
    let (mut found, mut in_other_layers, mut excluded) = (Vec::new(), 0, 0);
    for (name, node) in &nodes {
        let hit = match &rule {
            Some(rule) => {
                let named = rule.matches(name)?;
                let there = named && (matches!(rule, Rule::Pattern(_)) || layers.include(rule, name)?);
                in_other_layers += usize::from(named && !there);
                there
            }
            None => {
                let head = model.keys.output_embedding == Some(name.as_str())
                    || model.keys.head_names().iter().any(|h| name == h || name.starts_with(&format!("{h}.")));
                matches!(node.module().weights(), Some(Weights::Linear { .. })) && !head
            }
        };
        let saved = modules_to_save.iter().any(|m| is_below(name, m));
        if !hit {
            continue;
        }
        if saved || exclude.as_ref().map_or(Ok(false), |e| e.matches(name))? {
            excluded += 1;
        } else {
            found.push(name.clone());
        }
    }
    if found.is_empty() {
        let shown = config.get("target_modules").map(Json::to_string).unwrap_or_default();
        let pattern = format!("target_modules {}", printable(&shown, 120));
        let wanted = config.texts("target_modules").ok().flatten().unwrap_or_default();
        let names: Vec<&str> = nodes.iter().map(|(n, _)| n.as_str()).collect();
        let hint = if excluded > 0 {
            Some(format!("exclude_modules and modules_to_save leave none of the {excluded} that it names"))
        } else if in_other_layers > 0 {
            Some(format!("{in_other_layers} match it, but none of them is in layers_to_transform {}", layers.shown()))
        } else {
            config.get("target_modules").and_then(Json::as_str).and_then(|text| meant_by(text, &names))
        };
        return Err(Error::Target { pattern, nearest: nearest(&wanted, &names), hint });
    }
    Ok(found)
}

/// From how many names on PEFT looks for fewer that mean the same (`MIN_TARGET_MODULES_FOR_OPTIMIZATION`).
const MANY: usize = 20;

/// The shortest suffixes that mean these modules and no other; the names themselves where they are few
/// (`_find_minimal_target_modules`).
pub fn shortest(model: &Model, targets: &[String]) -> Vec<String> {
    if targets.len() < MANY {
        return targets.to_vec();
    }
    // From the last component on.
    fn suffixes(name: &str) -> Vec<&str> {
        let mut all: Vec<&str> = name.match_indices('.').map(|(at, _)| &name[at + 1..]).collect();
        all.reverse();
        all.push(name);
        all
    }
    let wanted: std::collections::HashSet<&str> = targets.iter().map(String::as_str).collect();
    let nodes = named_nodes(&model.root);
    let others = nodes.iter().filter(|(n, _)| !n.is_empty() && !wanted.contains(n.as_str()));
    let taken: std::collections::HashSet<&str> = others.flat_map(|(n, _)| suffixes(n)).collect();
    let mut found: Vec<String> = Vec::new();
    for name in targets {
        if found.iter().any(|f| has_suffix(name, f)) {
            continue;
        }
        let own = suffixes(name).into_iter().find(|s| !taken.contains(s));
        found.push(own.unwrap_or(name).to_owned());
    }
    found
}

/// Whether `name` is a module called `module`, or lies inside one.
fn is_below(name: &str, module: &str) -> bool {
    let mut prefix = name;
    loop {
        if has_suffix(prefix, module) {
            return true;
        }
        match prefix.rfind('.') {
            Some(at) => prefix = &prefix[..at],
            None => return false,
        }
    }
}

/// `layers_to_transform` and `layers_pattern`.
struct Layers {
    indices: Option<Vec<u64>>,
    patterns: Vec<fancy_regex::Regex>,
}

impl Layers {
    fn new(config: &TunerConfig) -> Result<Self> {
        let indices = config.integers("layers_to_transform")?.filter(|l| !l.is_empty());
        // An empty pattern is none, as in Python.
        let named = config.texts("layers_pattern")?.unwrap_or_default();
        let named: Vec<String> = named.into_iter().filter(|p| !p.is_empty()).collect();
        let sources = if named.is_empty() {
            // The first number of a path is its layer; experts and sub-layers have numbers, too (PEFT 0.20; before, the last).
            vec![r"\A.*?\.[^.]*\.(\d+)\.".to_owned()]
        } else {
            named.iter().map(|p| format!(r"\A.*?\.{p}\.(\d+)\.")).collect()
        };
        let patterns = sources
            .iter()
            .map(|s| {
                fancy_regex::Regex::new(s).map_err(|e| Error::config("layers_pattern", printable(&e.to_string(), 200)))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { indices, patterns })
    }

    fn shown(&self) -> String {
        printable(&format!("{:?}", self.indices.as_deref().unwrap_or_default()), 80)
    }

    fn include(&self, rule: &Rule, name: &str) -> Result<bool> {
        let Some(indices) = &self.indices else {
            return Ok(true);
        };
        // An entry that is the whole name is taken without a look at its layer.
        if matches!(rule, Rule::Suffixes(list) if list.iter().any(|s| s == name)) {
            return Ok(true);
        }
        for pattern in &self.patterns {
            let found = pattern
                .captures(name)
                .map_err(|e| Error::config("layers_pattern", printable(&e.to_string(), 200)))?
                .and_then(|c| c.get(1)?.as_str().parse().ok());
            if let Some(index) = found {
                return Ok(indices.contains(&index));
            }
        }
        Ok(false)
    }
}

/// The first of `patterns` that matches the end of a module name after a dot, or the whole name.
pub fn pattern_value(patterns: &[(String, f64)], option: &str, name: &str) -> Result<Option<f64>> {
    for (pattern, value) in patterns {
        if FullMatch::new(&format!(r"(?:.*\.)?(?:{pattern})"), option)?.matches(name)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_whole_components_only() {
        assert!(has_suffix("model.layers.0.mlp", "mlp"));
        assert!(has_suffix("mlp", "mlp"));
        assert!(!has_suffix("model.foo_mlp", "mlp"));
        assert!(is_below("classifier.dense", "classifier"));
        assert!(!is_below("my_classifier.dense", "classifier"));
    }

    #[test]
    fn the_first_pattern_that_fits_wins() {
        let patterns = vec![("layers.1.self_attn.q_proj".to_owned(), 6.), ("q_proj".to_owned(), 3.)];
        assert_eq!(pattern_value(&patterns, "rank_pattern", "model.layers.1.self_attn.q_proj").unwrap(), Some(6.));
        assert_eq!(pattern_value(&patterns, "rank_pattern", "model.layers.2.self_attn.q_proj").unwrap(), Some(3.));
        assert_eq!(pattern_value(&patterns, "rank_pattern", "model.layers.2.self_attn.k_proj").unwrap(), None);
    }
}
