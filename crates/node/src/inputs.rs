//! What a model is called with, filled in field by field.

use crate::error::guard;
use crate::tensor::NativeTensor;
use candle_core::{DType, Device};
use napi_derive::napi;
use parking_lot::Mutex;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::Ints;
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
            let mut inputs = self.inner.lock();
            match name.as_str() {
                "inputIds" => inputs.input_ids = Some(ints(t.data(), &name)?),
                "attentionMask" => {
                    // Masks are numbers in many libraries; only zero and not zero count.
                    let data = t.data();
                    let mask =
                        if data.dtype().is_float() { data.ne(0f64)?.to_dtype(DType::I64)? } else { data.clone() };
                    inputs.attention_mask = Some(ints(&mask, &name)?);
                }
                "tokenTypeIds" => inputs.token_type_ids = Some(ints(t.data(), &name)?),
                "positionIds" => inputs.position_ids = Some(ints(t.data(), &name)?),
                "labels" if t.dtype().is_float() => inputs.float_labels = Some(t),
                "labels" => inputs.labels = Some(ints(t.data(), &name)?),
                "inputsEmbeds" => inputs.inputs_embeds = Some(t),
                "pixelValues" => inputs.pixel_values = Some(t),
                "decoderInputIds" => inputs.decoder_input_ids = Some(ints(t.data(), &name)?),
                "decoderAttentionMask" => inputs.decoder_attention_mask = Some(ints(t.data(), &name)?),
                "sample" => inputs.sample = Some(t),
                "timestep" => inputs.timestep = Some(t),
                "encoderHiddenStates" => inputs.encoder_hidden_states = Some(t),
                "input" => inputs.input = Some(t),
                "interventionLocations" => inputs.intervention_locations = Some(ints(t.data(), &name)?),
                "target" => inputs.target = Some(t),
                other => {
                    return Err(Error::Argument(format!(
                        "{}: no supported architecture takes this input",
                        printable(other, 40)
                    )))
                }
            }
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
