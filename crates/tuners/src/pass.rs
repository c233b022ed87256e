//! One pass over a tuned model.

use crate::lifecycle::TunedModel;
use swift_tuners_nn::module::named_nodes;
use swift_tuners_nn::{AdapterId, Context, Error, Inputs, Output, Result, Tensor};

impl TunedModel {
    /// Runs the model with the adapters that `cx` holds. Refuses training with an adapter per row, whose gradients and random
    /// numbers would not be those of a batch of its own.
    pub fn forward(&self, cx: &Context, inputs: &Inputs) -> Result<Output> {
        if cx.training && cx.rows.is_some() {
            return Err(Error::Invalid("adapterNames: call eval() first; rows of one batch cannot train apart".into()));
        }
        let mut output = self.model.forward(cx, inputs).map_err(|e| self.explain(e))?;
        output.penalty = self.penalty(cx)?;
        Ok(output)
    }

    /// What active adapters want added to the loss of the pass that `cx` was made for.
    fn penalty(&self, cx: &Context) -> Result<Option<Tensor>> {
        let ids: Vec<AdapterId> =
            self.adapters().values().filter(|a| a.penalised && cx.is_active(a.id)).map(|a| a.id).collect();
        if ids.is_empty() || !cx.grad {
            return Ok(None);
        }
        let nodes = named_nodes(&self.model.root);
        let tuners = nodes.iter().flat_map(|(_, node)| &node.tuners);
        let mut sum: Option<Tensor> = None;
        for (tuner, id) in tuners.flat_map(|tuner| ids.iter().map(move |&id| (tuner, id))) {
            if let Some(penalty) = tuner.penalty(id, cx)? {
                sum = Some(match sum {
                    Some(sum) => sum.add(&penalty)?,
                    None => penalty,
                });
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use serde_json::json;
    use std::sync::Arc;
    use swift_tuners_nn::Array;

    #[test]
    fn rows_with_adapters_of_their_own_are_refused_in_training() {
        let only = json!({ "type": "Linear", "in_features": 3, "out_features": 2 });
        let module = json!({ "type": "Sequential", "modules": { "only": only } });
        let config = json!({ "architectures": ["CustomModel"], "model_type": "custom", "module": module });
        let model = swift_tuners_nn::checkpoint::new_model(config, DType::F32, &Device::Cpu, 3).unwrap();
        let model = TunedModel::new(model, true);
        let input = Array::ones((2, 3), DType::F32, &Device::Cpu).unwrap().into();
        let inputs = Inputs { input: Some(input), ..Inputs::default() };
        let cx = Context { training: true, rows: Some(Arc::new(vec![None, None])), ..Context::default() };
        assert!(matches!(model.forward(&cx, &inputs), Err(Error::Invalid(_))));
        assert!(model.forward(&Context { training: false, ..cx.clone() }, &inputs).is_ok());
        assert!(model.forward(&Context { rows: None, ..cx }, &inputs).is_ok());
    }
}
