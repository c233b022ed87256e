//! BOFT: rotates what goes into a layer, block by block, and scales what comes out.
//!
//! Liu et al. 2023 (arXiv 2311.06243); PEFT's `peft.tuners.boft`, with one butterfly factor.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Site};
use candle_core::Device;
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::linalg::{block_diagonal_product, cayley};
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `BOFTConfig`
    pub struct BoftConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, layers_to_transform, layers_pattern, bias, modules_to_save,
        ];
        /// Size of the blocks, where `boftBlockNum` is 0; it must divide the layer's width.
        boft_block_size: usize = 4;
        /// Number of blocks, where `boftBlockSize` is 0; it must divide the layer's width.
        boft_block_num: usize = 0;
        /// One is always taken, as in Python without its CUDA extension.
        boft_n_butterfly_factor: usize = 1;
        /// Share of the blocks that do nothing in training.
        boft_dropout: Probability = Probability(0.);
        /// False starts with random rotations and scales, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `y = s · W R x + b`, `R = diag(R₁, ..)` of Cayley's transforms of the skew-symmetric parts of `boft_R [1, blocks, size, size]`; `s`
/// is `boft_s`, a factor for each output.
#[derive(Clone)]
pub struct Boft {
    r: Param,
    /// `[out, 1]`, of a convolution `[1, out]`
    s: Param,
    dropout: f64,
}

impl LayerKind for Boft {
    const NAME: &'static str = "BOFT";
    const CLASS: &'static str = "BOFTConfig";
    const ABOUT: &'static str =
        "Rotations of what goes into a layer, and scales of what comes out. Liu et al. 2023 (arXiv 2311.06243).";
    type Config = BoftConfig;
    type Adapter = Self;

    fn check(c: &BoftConfig) -> Result<()> {
        match (c.boft_block_size, c.boft_block_num) {
            (0, 0) => Err(Error::config("boft_block_size", "either boft_block_size or boft_block_num must be given")),
            (0, _) | (_, 0) => Ok(()),
            (size, num) => {
                let why = format!(
                    "{size} and boft_block_num {num}: one of them must be 0, as their product is the layer's width"
                );
                Err(Error::config("boft_block_size", why))
            }
        }
    }

    fn new(c: &BoftConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        let plain = |k: &WeightKind| matches!(k, WeightKind::Linear { transposed: false } | WeightKind::Conv2d(_));
        site.require(plain, "torch.nn.Linear or Conv2d")?;
        site.refuse_conv1d()?;
        if let Some(conv) = site.convolution() {
            if conv.dilation > 1 || conv.groups > 1 || site.shape[2] != site.shape[3] {
                let why = format!(
                    "{} is a convolution with a dilation, in groups, or with a kernel that is no square",
                    site.path
                );
                return Err(Error::config("target_modules", why));
            }
        }
        let (field, given) = if c.boft_block_size == 0 {
            ("boft_block_num", c.boft_block_num)
        } else {
            ("boft_block_size", c.boft_block_size)
        };
        if !site.inputs.is_multiple_of(given) {
            let why = format!("{given} does not divide the {} inputs of {}", site.inputs, site.path);
            return Err(Error::config(field, why));
        }
        let size = if c.boft_block_size == 0 { site.inputs / given } else { given };
        let shape = [1, site.inputs / size, size, size];
        let scales = if site.convolution().is_some() { [1, site.outputs] } else { [site.outputs, 1] };
        let (r, s) = if c.init_weights {
            (init.constant(&shape, 0.)?, init.constant(&scales, 1.)?)
        } else {
            let r = init.param(&shape, move |g| g.normal(&shape, 0., 0.1))?;
            (r, init.param(&scales, move |g| g.normal(&scales, 1., 0.1))?)
        };
        Ok(Self { r, s, dropout: c.boft_dropout.0 })
    }
}

impl Boft {
    /// `[blocks, size, size]`
    fn rotations(&self, call: &Call<'_>) -> Result<Tensor> {
        let r = call.value(&self.r)?;
        let r = r.reshape(&r.dims()[1..])?;
        let r = cayley(&r.sub(&r.transpose(1, 2)?)?.affine(0.5, 0.)?)?;
        let blocks = r.dim(0);
        let dropped = (self.dropout * blocks as f64) as usize;
        if !call.training() || dropped == 0 {
            return Ok(r);
        }
        let mut rng = Rng::new(call.cx.next_seed());
        let mut kept = vec![1f32; blocks];
        kept[..dropped].fill(0.);
        (1..blocks).rev().for_each(|i| kept.swap(i, (rng.uniform() * (i + 1) as f64) as usize));
        let kept = Array::from_vec(kept, (blocks, 1, 1), &Device::Cpu)?.to_dtype(r.dtype())?.to_device(r.device())?;
        let eye = Array::eye(r.dim(1), r.dtype(), r.device())?;
        let instead = kept.affine(-1., 1.)?.broadcast_mul(&eye)?;
        r.mul(&kept.into())?.add(&instead.into())
    }

    fn scales(&self, call: &Call<'_>) -> Result<Tensor> {
        call.per_channel(&call.value(&self.s)?)
    }
}

impl LayerAdapter for Boft {
    const GROUPS: &'static [&'static str] = &["boft_dropout", "boft_R", "boft_s"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::trained("boft_R", &self.r), Part::trained("boft_s", &self.s)]
    }

    fn maps_input(&self) -> bool {
        true
    }

    fn input(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        block_diagonal_product(x, &self.rotations(call)?)
    }

    /// The bias is left out of it.
    fn output(&self, call: &Call<'_>, y: &Tensor) -> Result<Option<Tensor>> {
        let s = self.scales(call)?;
        let y = y.to_dtype(s.dtype())?;
        let Some(bias) = call.weights.bias() else { return y.mul(&s).map(Some) };
        let bias = call.per_channel(&call.value(bias)?)?.to_dtype(s.dtype())?;
        y.sub(&bias)?.mul(&s)?.add(&bias).map(Some)
    }

    fn merged_weight(&self, call: &Call<'_>, w: Array) -> Result<Array> {
        let back = self.rotations(call)?.transpose(1, 2)?.contiguous()?;
        let s = call.value(&self.s)?.into_data().reshape((w.dim(0)?, 1))?;
        Ok(block_diagonal_product(&w.into(), &back)?.into_data().broadcast_mul(&s)?)
    }

    fn merged_bias(&self, _: &Call<'_>, _: &dyn Fn() -> Result<Array>, _: Option<&Array>) -> Result<Option<Array>> {
        Ok(None)
    }
}
