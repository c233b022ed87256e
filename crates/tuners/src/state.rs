//! Values by name: `state_dict` and `load_state_dict`. Each walks the tree once, whatever the number of names.

use crate::lifecycle::{no_parameter, Flavor, TunedModel};
use candle_core::DType;
use std::collections::{HashMap, HashSet};
use swift_tuners_nn::module::saved_state;
use swift_tuners_nn::param::Place;
use swift_tuners_nn::{Array, Error, Param, Result};

/// The parameters of a model and its saved buffers under all of their names.
struct ByName<'a> {
    params: HashMap<String, &'a Param>,
    flavor: Flavor,
}

impl<'a> ByName<'a> {
    fn new(model: &'a TunedModel) -> Self {
        Self { params: saved_state(&model.model.root).into_iter().collect(), flavor: model.flavor }
    }

    /// By the name in this wrapping, or by the name in the base model.
    fn find(&self, name: &str) -> Result<&'a Param> {
        let found = self.flavor.names_inside(name).find_map(|n| self.params.get(n));
        found.copied().ok_or_else(|| no_parameter(name))
    }
}

impl TunedModel {
    /// Copies of the values of these parameters; of all and of the saved buffers, tied ones under each of their names, when none
    /// are named. Narrow integers widen to i64.
    pub fn state_dict(&self, names: Option<&[String]>) -> Result<Vec<(String, Array)>> {
        let copy = |name: &str, p: &Param| Ok((name.to_owned(), widened(self.value(p)?)?.copy()?));
        match names {
            None => saved_state(&self.model.root).into_iter().map(|(name, p)| copy(&name, p)).collect(),
            Some(names) => {
                let params = ByName::new(self);
                names.iter().map(|name| copy(name, params.find(name)?)).collect()
            }
        }
    }

    /// Copies values in by name, all or none, and returns the names that no parameter has.
    ///
    /// With `strict` those are an error, and so is a parameter that `state` does not have; a wrong shape always is.
    pub fn load_state_dict(&self, state: &[(String, Array)], strict: bool) -> Result<Vec<String>> {
        let params = ByName::new(self);
        let mut pairs = Vec::with_capacity(state.len());
        let mut unknown = Vec::new();
        for (name, array) in state {
            match params.find(name) {
                Ok(p) if p.shape() == array.dims() => pairs.push((p, array)),
                Ok(p) => {
                    let (expected, actual) = (p.shape(), array.dims().to_vec());
                    return Err(Error::Shape { path: name.clone(), expected, actual });
                }
                Err(e) if strict => return Err(e),
                Err(_) => unknown.push(name.clone()),
            }
        }
        if strict {
            let given: HashSet<usize> = pairs.iter().map(|(p, _)| p.id()).collect();
            let missing = saved_state(&self.model.root).into_iter().find(|(_, p)| !given.contains(&p.id()));
            if let Some((name, _)) = missing {
                return Err(Error::Argument(format!(
                    "loadStateDict: {name} is missing; pass strict: false to load a part"
                )));
            }
        } else if let (true, Some(name)) = (pairs.is_empty(), unknown.first()) {
            return Err(Error::Argument(format!("loadStateDict: {}", no_parameter(name))));
        }
        // A conversion may fail for want of memory; a parameter that is another's transposed changes that one.
        let before: Vec<(&Param, Place)> = params.params.values().map(|&p| (p, p.place())).collect();
        for (p, array) in pairs {
            if let Err(e) = p.set(array) {
                before.into_iter().for_each(|(p, place)| p.put_back(place));
                return Err(e);
            }
        }
        Ok(unknown)
    }
}

/// As tensors outside of the core hold them.
pub fn widened(array: Array) -> Result<Array> {
    let narrow = matches!(array.dtype(), DType::I32 | DType::I16);
    Ok(if narrow { array.to_dtype(DType::I64)? } else { array })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use serde_json::json;

    /// Two linear layers, `only` `[2, 3]` with a bias and `head` `[4, 2]` without.
    fn model() -> TunedModel {
        let module = json!({ "type": "Sequential", "modules": {
            "only": { "type": "Linear", "in_features": 3, "out_features": 2 },
            "head": { "type": "Linear", "in_features": 2, "out_features": 4, "bias": false },
        } });
        let config = json!({ "architectures": ["CustomModel"], "model_type": "custom", "module": module });
        let model = swift_tuners_nn::checkpoint::new_model(config, DType::F32, &Device::Cpu, 3).unwrap();
        TunedModel::new(model, true)
    }

    fn values(model: &TunedModel) -> Vec<(String, Vec<f32>)> {
        let flat = |a: Array| a.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        model.state_dict(None).unwrap().into_iter().map(|(name, a)| (name, flat(a))).collect()
    }

    fn ramp(shape: &[usize]) -> Array {
        Array::arange(1f32, 1. + shape.iter().product::<usize>() as f32, &Device::Cpu).unwrap().reshape(shape).unwrap()
    }

    #[test]
    fn what_is_loaded_is_what_the_state_holds() {
        let m = model();
        let weight = ("only.weight".to_owned(), ramp(&[2, 3]));
        let other = ("elsewhere".to_owned(), ramp(&[1]));
        assert_eq!(m.load_state_dict(&[weight.clone(), other], false).unwrap(), ["elsewhere"]);
        let loaded = m.state_dict(Some(&["only.weight".into()])).unwrap();
        assert_eq!(loaded[0].1.to_vec2::<f32>().unwrap(), weight.1.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn a_load_that_fails_changes_nothing() {
        let m = model();
        let before = values(&m);
        let entry = |name: &str, shape: &[usize]| (name.to_owned(), ramp(shape));
        let cases = [
            (vec![entry("only.weight", &[2, 3]), entry("only.bias", &[3])], false, "only.bias: expected shape [2]"),
            (vec![entry("only.weight", &[2, 3])], true, "only.bias is missing"),
            (vec![entry("only.weight", &[2, 3]), entry("elsewhere", &[1])], true, "no parameter is called"),
            (vec![entry("elsewhere", &[1])], false, "no parameter is called"),
        ];
        for (state, strict, message) in cases {
            let error = m.load_state_dict(&state, strict).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
            assert_eq!(values(&m), before, "{message}");
        }
    }

    #[test]
    fn a_state_is_a_copy() {
        let m = model();
        let before = m.state_dict(None).unwrap();
        m.load_state_dict(&[("only.weight".into(), ramp(&[2, 3]))], false).unwrap();
        assert_ne!(before[0].1.to_vec2::<f32>().unwrap(), ramp(&[2, 3]).to_vec2::<f32>().unwrap());
        assert!(m.state_dict(Some(&["elsewhere".into()])).is_err());
    }
}
