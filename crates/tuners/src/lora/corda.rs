//! CorDA: factors of the weight as what goes into it sees it.
//!
//! Yang et al. 2024 (arXiv 2406.05223); PEFT's `preprocess_corda` and `corda_init`.

use crate::fields::Unsupported;
use crate::site::Site;
use candle_core::{DType, Device};
use swift_tuners_nn::linalg::{pseudo_inverse, svd};
use swift_tuners_nn::{Array, Error, Result};

crate::words! {
    /// Which singular triplets are adapted.
    pub enum Mode {
        /// The largest: learns fast.
        Previewed = "ipm",
        /// The smallest: keeps what the model knows.
        Preserved = "kpm",
    }
}

crate::object! {
    /// How the covariance of what goes in becomes factors.
    pub struct CordaConfig {
        cache_file: Unsupported = Unsupported;
        covariance_file: Unsupported = Unsupported;
        /// Which singular triplets are adapted.
        corda_method: Mode = Mode::Previewed;
        /// No effect here.
        verbose: bool = false;
        use_float16_for_covariance: Unsupported = Unsupported;
        /// No effect here.
        prune_temporary_fields: bool = true;
    }
}

/// The first share of the mean variance that goes to the diagonal, and how far from the identity a product may be.
const DAMPING: f64 = 0.01;
const ERROR: f64 = 0.05;

/// A and B from the covariance that was measured.
pub fn factors(c: &CordaConfig, site: &Site, r: usize, scaling: f64) -> Result<(Array, Array)> {
    let Some(covariance) = &site.measured.covariance else {
        let why = format!("corda: no data has gone through {} yet; call preprocessCorda first", site.path);
        return Err(Error::config("init_lora_weights", why));
    };
    let n = site.inputs;
    let most = site.outputs.min(n);
    if r > most {
        return Err(Error::config("r", format!("{r} is larger than the {most} singular values of {}", site.path)));
    }
    let covariance = covariance.array()?.to_dtype(DType::F64)?.to_device(&Device::Cpu)?;
    let unit = Array::eye(n, DType::F64, &Device::Cpu)?;
    let mean = (&covariance * &unit)?.sum_all()?.to_scalar::<f64>()? / n as f64;
    let mut damping = DAMPING;
    let (damped, inverse) = loop {
        let damped = (&covariance + (&unit * (mean * damping))?)?;
        let inverse = pseudo_inverse(&damped, 0.)?;
        let off = (damped.matmul(&inverse)? - &unit)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        if off < ERROR {
            break (damped, inverse);
        }
        if !off.is_finite() || damping > 1e6 {
            return Err(Error::Invalid(format!("{}: the covariance of what goes in has no inverse", site.path)));
        }
        damping *= 2.;
    };
    let seen = site.matrix()?.to_dtype(DType::F64)?.to_device(&Device::Cpu)?.matmul(&damped)?;
    let (u, s, vt) = svd(&seen, most)?;
    let first = if c.corda_method == Mode::Previewed { 0 } else { most - r };
    let root = (s.narrow(0, first, r)? / scaling)?.sqrt()?;
    let v = vt.narrow(0, first, r)?.to_dtype(DType::F64)?.matmul(&inverse)?.to_dtype(DType::F32)?;
    let b = u.narrow(1, first, r)?.contiguous()?.broadcast_mul(&root.unsqueeze(0)?)?;
    Ok((v.broadcast_mul(&root.unsqueeze(1)?)?, b))
}
