//! OFT: rotates what goes into a layer, block by block.
//!
//! Qiu et al. 2023 (arXiv 2306.07280), and 2025 (arXiv 2506.19847) for the Cayley–Neumann form; PEFT's `peft.tuners.oft`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Traits;
use crate::site::{Call, Site};
use candle_core::{DType, Device};
use swift_tuners_nn::linalg::{block_diagonal_product, cayley, cayley_neumann, skew_from_upper};
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{from_patches, patches};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `OFTConfig`
    pub struct OftConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, layers_to_transform, layers_pattern, bias, modules_to_save,
        ];
        /// Number of blocks of a layer, where `oftBlockSize` is 0; the nearest divisor of the width is taken.
        r: usize = 0;
        /// Size of the blocks, where `r` is 0; the nearest divisor of the width is taken.
        oft_block_size: usize = 32;
        /// Python keeps it and uses it nowhere.
        module_dropout: f64 = 0., in 0. ..=1.;
        /// False starts with random rotations, so that the adapter acts at once.
        init_weights: bool = true;
        /// Keeps every block within `eps / sqrt(number of blocks)` of no rotation.
        coft: bool = false;
        /// How far a layer may rotate, with `coft`.
        eps: f64 = 6e-5;
        /// One block for all parts of a layer's input.
        block_share: bool = false;
        /// A series in place of the exact transform, which takes the inverse of every block.
        use_cayley_neumann: bool = true;
        num_cayley_neumann_terms: usize = 5;
    }
}

/// `y = base(x R)`, `R = diag(R₁, ..)` of rotations `Rᵢ` from skew-symmetric matrices; of an embedding `y = base(ids) R`. What a
/// convolution gets is cut into patches, which are rotated and laid on each other again.
#[derive(Clone)]
pub struct Oft {
    /// What is above the diagonals, `[blocks, size (size − 1) / 2]`, or one row for all blocks.
    r: Param,
    /// Where a row of it stands above the diagonal (Python's `rows` and `cols`).
    places: [Param; 2],
    size: usize,
    /// Of COFT: how large the skew-symmetric matrix of a block may be.
    limit: Option<f64>,
    /// Of Neumann's series; nothing for the exact transform.
    terms: Option<usize>,
    embedding: bool,
}

/// A number for each place above the diagonal of a square of this size, row by row.
fn upper(size: usize, init: &Init, number: impl Fn(usize, usize) -> usize + Send + Sync + 'static) -> Param {
    let count = size * (size - 1) / 2;
    Param::pending(&[count], DType::I64, &init.device, false, move || {
        let places = (0..size).flat_map(|i| (i + 1..size).map(move |j| (i, j)));
        let numbers: Vec<i64> = places.map(|(i, j)| number(i, j) as i64).collect();
        Ok(Array::from_vec(numbers, count, &Device::Cpu)?)
    })
}

/// The divisor of `width` next to `wanted`, the smaller of two as near.
fn divisor(width: usize, wanted: usize) -> usize {
    if wanted >= width {
        return width;
    }
    let divides = |n: &usize| width.is_multiple_of(*n);
    let lower = (1..=wanted).rev().find(divides).unwrap_or(1);
    let higher = (wanted..=width).find(divides).unwrap_or(width);
    if wanted - lower <= higher - wanted {
        lower
    } else {
        higher
    }
}

impl LayerKind for Oft {
    const NAME: &'static str = "OFT";
    const CLASS: &'static str = "OFTConfig";
    const TRAITS: Traits = Traits { steps: true, ..Traits::LAYER };
    const ABOUT: &'static str =
        "Rotations of what goes into a layer, block by block. Qiu et al. 2023 (arXiv 2306.07280).";
    type Config = OftConfig;
    type Adapter = Self;

    fn check(c: &OftConfig) -> Result<()> {
        match (c.r, c.oft_block_size) {
            (0, 0) => Err(Error::config("oft_block_size", "either r or oft_block_size must be given")),
            (0, _) | (_, 0) => Ok(()),
            (r, size) => {
                let why = format!("{size} and r {r}: one of them must be 0, as their product is the layer's width");
                Err(Error::config("oft_block_size", why))
            }
        }
    }

    fn new(c: &OftConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k != WeightKind::Linear { transposed: true }, "torch.nn.Linear, Conv2d or Embedding")?;
        site.refuse_conv1d()?;
        let embedding = site.kind == WeightKind::Embedding;
        if let Some(conv) = site.convolution() {
            if conv.dilation > 1 || site.shape[2] != site.shape[3] {
                let why = format!("{} is a convolution with a dilation, or with a kernel that is no square", site.path);
                return Err(Error::config("target_modules", why));
            }
        }
        let taps: usize = site.shape.iter().skip(2).product();
        let width = if embedding { site.outputs } else { site.channels() * if site.is_linear() { 1 } else { taps } };
        let size = if c.r == 0 { divisor(width, c.oft_block_size) } else { width / divisor(width, c.r) };
        let blocks = if c.block_share { 1 } else { width / size };
        let shape = [blocks, size * (size - 1) / 2];
        let r = if c.init_weights {
            init.constant(&shape, 0.)?
        } else {
            init.param(&shape, move |g| g.normal(&shape, 0., 0.1))?
        };
        Ok(Self {
            r,
            places: [upper(size, init, |i, _| i), upper(size, init, |_, j| j)],
            size,
            limit: c.coft.then(|| c.eps / (blocks as f64).sqrt()),
            terms: c.use_cayley_neumann.then_some(c.num_cayley_neumann_terms),
            embedding,
        })
    }
}

/// COFT: blocks beyond the limit are scaled back to it.
fn within(r: &Array, limit: f64) -> Result<Array> {
    // Every element stands twice in the matrix.
    let norms = (r.sqr()?.sum_keepdim(1)? * 2.)?.sqrt()?;
    let scale = (norms.recip()? * limit)?.minimum(1.)?;
    Ok(r.broadcast_mul(&scale)?)
}

impl Oft {
    /// `[blocks, size, size]`
    fn rotations(&self, call: &Call<'_>) -> Result<Tensor> {
        let mut r = call.value(&self.r)?;
        if let Some(limit) = self.limit {
            // Python scales the stored parameter back before it is used, so that the gradient is that of what is left.
            let within = within(r.data(), limit)?;
            r = Tensor::from_op(within, &[&r], |g| Ok(vec![Some(g.clone())]));
        }
        let q = skew_from_upper(&r, self.size)?;
        match self.terms {
            Some(terms) => cayley_neumann(&q, terms),
            None => cayley(&q),
        }
    }
}

/// What Python makes of an image `x [batch, channels, height, width]`: its patches are rotated and laid on each other, which adds up
/// where they overlap. It lays them out as `[channels, positions, taps]` and reads that as `[channels, taps, positions]`, so that what
/// was trained there is right in this order alone.
fn rotated_patches(x: &Tensor, kernel: usize, r: &Tensor) -> Result<Tensor> {
    let rows = block_diagonal_product(&patches(x, (kernel, kernel))?, r)?;
    let (batch, channels, taps, all) = (x.dim(0), x.dim(1), kernel * kernel, rows.dims().to_vec());
    let positions = all[0] / batch.max(1);
    let laid_out = rows.reshape((batch, positions, channels, taps))?.permute(&[0, 2, 1, 3])?.contiguous()?;
    let read = laid_out.reshape((batch, channels, taps, positions))?.permute(&[0, 3, 1, 2])?.contiguous()?;
    from_patches(&read.reshape(all)?, x.dims(), (kernel, kernel))
}

impl LayerAdapter for Oft {
    const GROUPS: &'static [&'static str] = &["oft_R", "oft_embedding_R", "oft_dropout"];
    const FIRST_MAPS_FIRST: bool = true;
    const MAPS_PATCHES: bool = false;
    const CONSTRAINS: bool = true;

    /// Python scales the stored parameter back in every pass; what trained is scaled before it is changed.
    fn constrain(&self) -> Result<()> {
        match self.limit.filter(|_| self.r.grad().is_some()) {
            Some(limit) => self.r.take(&within(&self.r.array()?, limit)?),
            None => Ok(()),
        }
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let group = if self.embedding { "oft_embedding_R" } else { "oft_R" };
        let place = |leaf, at: usize| Part::leaf(group, leaf, &self.places[at]).role(Role::Buffer { saved: false });
        vec![Part::leaf(group, ".weight", &self.r), place(".rows", 0), place(".cols", 1)]
    }

    fn maps_input(&self) -> bool {
        !self.embedding
    }

    fn input(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        let r = self.rotations(call)?;
        if x.rank() == 4 && call.site.convolution().is_some() {
            return rotated_patches(x, call.site.shape[2], &r);
        }
        block_diagonal_product(x, &r)
    }

    fn output(&self, call: &Call<'_>, y: &Tensor) -> Result<Option<Tensor>> {
        if !self.embedding {
            return Ok(None);
        }
        block_diagonal_product(y, &self.rotations(call)?).map(Some)
    }

    fn merged_weight(&self, call: &Call<'_>, w: Array) -> Result<Array> {
        if call.site.convolution().is_some_and(|c| c.groups > 1) {
            let why = "a rotation of all channels cannot be merged into a convolution in groups";
            return Err(Error::Invalid(format!("{}: {why}", call.site.path)));
        }
        let r = self.rotations(call)?;
        let rotate = |x: Array| block_diagonal_product(&x.into(), &r);
        if self.embedding {
            return Ok(rotate(w.t()?.contiguous()?)?.into_data().t()?.contiguous()?);
        }
        // W Rᵀ
        let back = r.transpose(1, 2)?.contiguous()?;
        block_diagonal_product(&w.into(), &back).map(Tensor::into_data)
    }
}
