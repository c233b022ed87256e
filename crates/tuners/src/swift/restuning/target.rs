//! The bypass's place in the model.

use super::bypass::Block;
use super::START;
use std::sync::Arc;
use swift_tuners_nn::module::{Args, Next, Own, Position, Tuner, Value, Visitor};
use swift_tuners_nn::{Context, Error, Result, Tensor};

/// Has the parameters at the root, where Python keeps them, and does nothing.
#[derive(Clone)]
pub struct Holder {
    pub own: Own,
}

impl Tuner for Holder {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        next.run(cx, args)
    }

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}

/// Puts what the bypass gives into the place of the target's input or output.
#[derive(Clone)]
pub struct Target {
    pub own: Own,
    pub bypass: Arc<Vec<Block>>,
    pub position: Position,
    pub output: bool,
}

impl Target {
    fn run_bypass(&self, cx: &Context) -> Result<Tensor> {
        let tap = |at: usize| match cx.tap(self.own.adapter, at) {
            Some(Value::Tensor(t)) => Ok(t),
            _ => Err(Error::Invalid(format!(
                "Res-Tuning adapter {}: the target runs before {}",
                self.own.name,
                if at == START { "the root module".to_owned() } else { format!("stem {}", at - 1) }
            ))),
        };
        let mut x = tap(START)?;
        for (i, block) in self.bypass.iter().enumerate() {
            let stem = tap(i + 1)?;
            let next = if i + 1 < self.bypass.len() { Some(tap(i + 2)?) } else { None };
            x = block.apply(cx, &stem, &x, next.as_ref())?;
        }
        Ok(x)
    }
}

impl Tuner for Target {
    fn around(&self, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        if !self.output {
            let bypassed = self.run_bypass(cx)?;
            match args.get_mut(&self.position)? {
                Value::Tensor(x) => *x = bypassed.to_dtype(x.dtype())?,
                other => *other = bypassed.into(),
            }
            return next.run(cx, args);
        }
        let mut value = next.run(cx, args)?;
        let bypassed = self.run_bypass(cx)?;
        let x = value.element_mut(&Some(self.position.clone()))?;
        *x = bypassed.to_dtype(x.dtype())?;
        Ok(value)
    }

    fn visit<'a>(&'a self, _: &mut dyn Visitor<'a>) {}

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}
