//! HRA: multiplies the weight by a product of Householder reflections.
//!
//! Yuan et al. 2024 (arXiv 2405.17484); PEFT's `peft.tuners.hra`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Site};
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{linalg, Param, Result, Tensor};

crate::config! {
    /// `HRAConfig`
    pub struct HraConfig {
        standard: [
            peft, target_modules, exclude_modules, layers_to_transform, layers_pattern, bias, modules_to_save,
        ];
        /// Number of reflections; with an even one the adapter starts as the identity.
        r: usize = 8, in 1..;
        /// Makes the vectors orthogonal first (Gram–Schmidt).
        apply_gs as "apply_GS": bool = false;
        /// False starts with vectors that are all different, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `y = base(x Hᵀ)`, `H = Π (I - 2 u uᵀ)` over the unit columns u of `hra_u [in, r]`.
#[derive(Clone)]
pub struct Hra {
    u: Param,
    gram_schmidt: bool,
}

impl LayerKind for Hra {
    const NAME: &'static str = "HRA";
    const CLASS: &'static str = "HRAConfig";
    const ABOUT: &'static str =
        "Householder reflections of what goes into a layer. Yuan et al. 2024 (arXiv 2405.17484).";
    type Config = HraConfig;
    type Adapter = Self;

    fn new(c: &HraConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        let plain = |k: &WeightKind| matches!(k, WeightKind::Linear { transposed: false } | WeightKind::Conv2d(_));
        site.require(plain, "torch.nn.Linear or Conv2d")?;
        site.refuse_conv1d()?;
        let (n, r, pairs) = (site.inputs, c.r, c.init_weights && c.r.is_multiple_of(2));
        let u = init.param(&[n, r], move |g| {
            if !pairs {
                return g.kaiming_uniform(&[n, r], 5f64.sqrt());
            }
            // Neighbours are equal, and two equal reflections are none.
            let half = g.kaiming_uniform(&[n, r / 2], 5f64.sqrt())?;
            Ok(half.unsqueeze(2)?.repeat((1, 1, 2))?.reshape((n, r))?)
        })?;
        Ok(Self { u, gram_schmidt: c.apply_gs })
    }
}

impl LayerAdapter for Hra {
    const GROUPS: &'static [&'static str] = &["hra_u"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::trained("hra_u", &self.u)]
    }

    fn maps_input(&self) -> bool {
        true
    }

    fn input(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        let u = call.value(&self.u)?;
        let x = x.to_dtype(u.dtype())?;
        if self.gram_schmidt {
            linalg::reflect_all(&x, &linalg::gram_schmidt(&u)?)
        } else {
            linalg::reflect_each(&x, &u)
        }
    }
}
