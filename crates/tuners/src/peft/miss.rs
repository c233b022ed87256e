//! MiSS: a small matrix that all shards of a weight share.
//!
//! Kang and Yin 2024 (arXiv 2409.15371); PEFT's `peft.tuners.miss`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{Fields as _, Probability};
use crate::init::Init;
use crate::layer::{Active, LayerAdapter};
use crate::layers::LayerKind;
use crate::method::Attach;
use crate::site::{Call, Input, Site};
use swift_tuners_nn::module::{Next, Part, WeightKind};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{linalg, Array, Error, Param, Result, Tensor};

crate::config! {
    /// `MissConfig`
    pub struct MissConfig {
        standard: [
            peft, target_modules, exclude_modules, layers_to_transform, layers_pattern, bias, modules_to_save,
        ];
        /// Inputs of a shard.
        r: usize = 64, in 1..;
        miss_dropout: Probability = Probability(0.);
        /// Columns of the matrix with `initWeights: 'mini'`, which repeat over the outputs.
        mini_r: usize = 1, in 1..;
        /// True starts at zero, false at random, so that the adapter acts at once; 'bat' multiplies shards by the matrix, 'mini' repeats it.
        init_weights: Start = Start::Zero;
    }
}

crate::choices! {
    /// Which of MiSS's forms it is, and how it starts.
    pub enum Start { Zero = true, Random = false, Bat = "bat", Mini = "mini" }
}

/// `ΔW[o, i] = M[i mod r, o]`; or, of the shards `[r, r]` of W, `ΔW = W M + M` with an M for each row of shards.
#[derive(Clone)]
pub struct Miss {
    /// `[r, out]`, `[r, mini_r]`, or `[out / r, r, r]`
    block: Param,
    bat: bool,
    dropout: f64,
}

impl LayerKind for Miss {
    const NAME: &'static str = "MISS";
    const CLASS: &'static str = "MissConfig";
    const ABOUT: &'static str =
        "A small matrix that all shards of a weight share. Kang and Yin 2024 (arXiv 2409.15371).";
    type Config = MissConfig;
    type Adapter = Self;

    fn resolve(c: &MissConfig, a: &Attach<'_>, _: &mut TunerConfig) -> Result<()> {
        for other in a.others.iter().filter(|o| o.kind == Self::NAME) {
            // Python runs all adapters of a layer as it runs the first one, which then fails.
            if (MissConfig::of(other)?.init_weights == Start::Bat) != (c.init_weights == Start::Bat) {
                let why = "'bat' does not go with another form of MiSS in one model";
                return Err(Error::config("init_weights", why));
            }
        }
        Ok(())
    }

    fn new(c: &MissConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let (r, outputs, inputs, path) = (c.r, site.outputs, site.inputs, &site.path);
        if r > inputs {
            return Err(Error::config("r", format!("{r} is more than the {inputs} inputs of {path}")));
        }
        let block = match c.init_weights {
            Start::Zero => init.constant(&[r, outputs], 0.)?,
            Start::Random => init.kaiming(&[r, outputs])?,
            Start::Bat if !inputs.is_multiple_of(r) || !outputs.is_multiple_of(r) => {
                let why = format!("{path} [{outputs}, {inputs}] does not divide into shards of {r} × {r}");
                return Err(Error::config("r", why));
            }
            Start::Bat => init.constant(&[outputs / r, r, r], 0.)?,
            Start::Mini if !outputs.is_multiple_of(c.mini_r) => {
                let why = format!("{} does not divide the {outputs} outputs of {path}", c.mini_r);
                return Err(Error::config("mini_r", why));
            }
            Start::Mini => init.constant(&[r, c.mini_r], 0.)?,
        };
        Ok(Self { block, bat: c.init_weights == Start::Bat, dropout: c.miss_dropout.0 })
    }
}

impl Miss {
    /// ΔW for the weight `w [out, in]`.
    fn delta_of(&self, call: &Call<'_>, w: &Tensor) -> Result<Tensor> {
        let m = call.value(&self.block)?;
        let (out, inp) = (w.dim(0), w.dim(1));
        if !self.bat {
            let (r, columns) = (m.dim(0), m.dim(1));
            let (across, down) = (inp.div_ceil(r), out / columns.max(1));
            let tiles = m.transpose(0, 1)?.reshape((1, columns, 1, r))?.broadcast_to(&[down, columns, across, r])?;
            return tiles.contiguous()?.reshape((out, across * r))?.narrow(1, 0, inp)?.contiguous();
        }
        let r = m.dim(1);
        let w = w.to_dtype(m.dtype())?;
        // A row of shards lies [r, in / r, r], which is one matrix of r in / r rows.
        let product = w.reshape((out / r, inp, r))?.matmul(&m)?.reshape((out / r, r, inp / r, r))?;
        product.add(&m.unsqueeze(2)?)?.reshape((out, inp))
    }
}

impl LayerAdapter for Miss {
    const GROUPS: &'static [&'static str] = &["miss_dropout", "miss_block"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::trained("miss_block", &self.block)]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        self.delta_of(call, &call.weights.matrix()?.into()).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        if self.bat {
            return self.delta(call)?.map(|delta| call.times(x, &delta)).transpose();
        }
        let m = call.value(&self.block)?;
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(m.dtype())?;
        let columns = m.dim(1);
        let y = linalg::fold_columns(&x, m.dim(0))?;
        let y = ops::linear(&y, &m, None, WeightLayout::InOut)?;
        if columns == call.site.outputs {
            return Ok(Some(y));
        }
        let mut shape = y.dims().to_vec();
        shape.insert(shape.len() - 1, call.site.outputs / columns);
        let y = y.unsqueeze(y.rank() as isize - 1)?.broadcast_to(&shape)?.contiguous()?;
        y.merge_last().map(Some)
    }

    /// Shards that are multiplied: each adapter changes the weight that those before it have left, and the product is the only one.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, next: &Next<'_>) -> Result<Option<Tensor>> {
        if next.bare(call.cx).is_none() || !active.iter().all(|a| a.adapter.bat) {
            return Ok(None);
        }
        let mut w = Tensor::from(call.weights.matrix()?);
        for Active { adapter, .. } in active {
            w = w.to_dtype(adapter.block.dtype())?.add(&adapter.delta_of(call, &w)?)?;
        }
        let x = x.tensor()?;
        let bias = call.weights.bias().map(|b| b.value(call.cx.grad)?.to_dtype(w.dtype())).transpose()?;
        let y = ops::linear(&x.to_dtype(w.dtype())?, &w, bias.as_ref(), WeightLayout::OutIn)?;
        y.to_dtype(x.dtype()).map(Some)
    }

    fn merged_weight(&self, call: &Call<'_>, w: Array) -> Result<Array> {
        let delta = self.delta_of(call, &w.clone().into())?;
        Ok((w + delta.into_data())?)
    }
}
