//! KaSA: the weight without its smallest singular values, and an update with singular values of its own.
//!
//! Wang et al. 2024 (arXiv 2412.06071); PEFT's `KasaLinearVariant`. `ΔW = s B diag(σ) A`.

use crate::init::Init;
use crate::site::Site;
use swift_tuners_nn::linalg::svd;
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::object! {
    /// How much each of the regularisers counts in [`swift_tuners_nn::Output::penalty`].
    pub struct KasaConfig {
        /// Of the squares of the singular values.
        beta: f64 = 1e-4, in 0. ..;
        /// Of how far the factors are from orthonormal.
        gamma: f64 = 1e-3, in 0. ..;
    }
}

#[derive(Clone)]
pub struct Kasa {
    /// σ, `[r]`
    pub diagonal: Param,
    beta: f64,
    gamma: f64,
}

impl Kasa {
    /// Takes the `r` smallest singular values out of the layer's weight, for good.
    pub fn new(c: &KasaConfig, site: &Site, r: usize, init: &mut Init) -> Result<Self> {
        let most = site.outputs.min(site.inputs);
        if r >= most {
            let why = format!("KaSA leaves {} of {most} singular values of {}", most.saturating_sub(r), site.path);
            return Err(Error::config("r", why));
        }
        let diagonal = init.param(&[r], move |g| g.randn(&[r]))?;
        let (u, s, vt) = svd(&site.matrix()?, most - r)?;
        let rest = u.broadcast_mul(&s.unsqueeze(0)?)?.matmul(&vt)?;
        let stored = site.kind.weight(&rest, &site.shape)?.to_dtype(site.base_dtype)?;
        site.weight().replace(stored.to_device(&site.device)?);
        Ok(Self { diagonal, beta: c.beta, gamma: c.gamma })
    }

    /// `β Σ σ² + γ (‖Bᵀ B - I‖ + ‖A Aᵀ - I‖)`: equations 9 to 11.
    pub fn penalty(&self, a: &Tensor, b: &Tensor, diagonal: &Tensor) -> Result<Tensor> {
        let unit: Tensor = Array::eye(a.dim(0), a.dtype(), a.device())?.into();
        let off = |gram: Tensor| gram.sub(&unit)?.sqr()?.sum(None, false)?.sqrt();
        let (at, bt) = (a.transpose(0, 1)?.contiguous()?, b.transpose(0, 1)?.contiguous()?);
        let apart = off(bt.matmul(b)?)?.add(&off(a.matmul(&at)?)?)?;
        diagonal.sqr()?.sum(None, false)?.affine(self.beta, 0.)?.add(&apart.affine(self.gamma, 0.)?)
    }
}
