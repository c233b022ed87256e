//! What a model is called with, filled in field by field.

use crate::error::guard;
use crate::tensor::NativeTensor;
use candle_core::{DType, Device};
use napi_derive::napi;
use parking_lot::Mutex;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::models::{Decoding, InputKind, INPUTS};
use swift_tuners_nn::module::{Ints, Value};
use swift_tuners_nn::{Array, Error, Inputs, Result};

#[napi]
pub struct NativeInputs {
    inner: Mutex<Inputs>,
    adapter_names: Mutex<Option<Vec<String>>>,
}

fn ints(array: &Array, name: &str) -> Result<Ints> {
    if array.dtype().is_float() {
        return Err(Error::Argument(format!("{name}: expected integers, found {:?}", array.dtype())));
    }
    let shape = array.dims().to_vec();
    Ints::new(shape, array.to_dtype(DType::I64)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// The inputs that hold integers, by their TypeScript names.
#[napi]
pub fn integer_inputs() -> Vec<&'static str> {
    INPUTS.iter().filter(|kind| kind.integers && kind.name != "labels").map(|kind| kind.camel).collect()
}

#[napi]
impl NativeInputs {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { inner: Mutex::default(), adapter_names: Mutex::default() }
    }

    /// Sets a field by its TypeScript name.
    #[napi]
    pub fn set(&self, name: String, value: &NativeTensor) -> napi::Result<()> {
        guard(|| {
            let t = value.get()?;
            let kinds: Vec<&InputKind> = INPUTS.iter().filter(|kind| kind.camel == name).collect();
            // What may be either is told by its values.
            let exact = kinds.iter().find(|kind| kind.integers != t.dtype().is_float());
            let Some(kind) = exact.or(kinds.first()) else {
                return Err(Error::Argument(format!(
                    "{}: no supported architecture takes this input",
                    printable(&name, 40)
                )));
            };
            let value = match kind.integers {
                // Masks are numbers in many libraries; only zero and not zero count.
                true if [kind.decoder, kind.seq2seq].contains(&Decoding::Mask) && t.dtype().is_float() => {
                    Value::Ints(ints(&t.data().ne(0f64)?.to_dtype(DType::I64)?, &name)?)
                }
                true => Value::Ints(ints(t.data(), &name)?),
                false => Value::Tensor(t),
            };
            self.inner.lock().put(kind.name, value);
            Ok(())
        })
    }

    /// One adapter per row of the batch.
    #[napi]
    pub fn set_adapter_names(&self, names: Vec<String>) {
        *self.adapter_names.lock() = Some(names);
    }

    /// The loss is all that is wanted of the pass.
    #[napi]
    pub fn set_loss_only(&self) {
        self.inner.lock().loss_only = true;
    }

    pub fn adapter_names(&self) -> Option<Vec<String>> {
        self.adapter_names.lock().clone()
    }

    pub fn get(&self) -> Inputs {
        self.inner.lock().clone()
    }
}
