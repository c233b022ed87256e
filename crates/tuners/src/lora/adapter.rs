//! LoRA at one layer: a low-rank update, or what a variant makes of it.

use super::init;
use super::invocation;
use super::variant::{Arrow, Asked, Blocks, Kasa, Sampler, Variant, Velora};
use super::{LoraFields, PeftLoraConfig, Start};
use crate::layer::{add_wide, Active, LayerAdapter};
use crate::site::{Call, Input, Site};
use std::ops::Range;
use swift_tuners_nn::combine::Combining;
use swift_tuners_nn::module::{Next, Part, PartName, Rate, Role, WeightKind, Weights};
use swift_tuners_nn::ops::{self, Conv2dShape, LoraTerm, WeightLayout};
use swift_tuners_nn::{Array, Context, Error, Param, Result, Tensor};

use super::block_diagonal::Factor;

/// MonteCLoRA's module in Python.
const SAMPLER: &str = "lora_monteclora_sampler";

/// `ΔW = s B A`.
#[derive(Clone)]
pub struct Lora {
    /// `[r, in]`; embeddings `[r, vocabulary]`, convolutions `[r, in, height, width]` or `[r, in, kernel]`
    pub a: Param,
    /// `[out, r]`; convolutions `[out, r / groups, 1, 1]`
    pub b: Param,
    /// Bias of B (`lora_bias`), `[out]`.
    pub b_bias: Option<Param>,
    pub variant: Variant,
    pub scaling: f64,
    pub dropout: f64,
    embedding: bool,
}

impl Lora {
    /// The adapter of one layer; PiSSA and OLoRA replace the layer's weight by what is left of it.
    pub fn new(
        c: &LoraFields,
        peft: Option<&PeftLoraConfig>,
        site: &Site,
        init: &mut crate::init::Init,
    ) -> Result<Self> {
        let (r, scaling) = c.rank_and_scaling(&site.path)?;
        let asked = Asked::of(c, peft)?;
        asked.require(site)?;
        if c.lora_bias && !site.bias {
            return Err(Error::config("lora_bias", format!("{} has no bias to merge it into", site.path)));
        }
        if let Some(conv) = site.convolution() {
            if !matches!(c.init_lora_weights, Start::Default | Start::Random) {
                let why = format!("{} is a convolution: use true or false", site.path);
                return Err(Error::config("init_lora_weights", why));
            }
            if r % conv.groups != 0 {
                let why = format!("{r} is no multiple of the {} groups of {}", conv.groups, site.path);
                return Err(Error::config("r", why));
            }
            if c.use_dora && conv.groups > 1 {
                let why = format!("does not go with {}, a convolution in groups", site.path);
                return Err(Error::config("use_dora", why));
            }
        }
        let embedding = site.kind == WeightKind::Embedding;
        let (a, b, b_bias) = init::matrices(c, peft, site, r, scaling, init)?;
        let mut lora = Self { a, b, b_bias, variant: Variant::Plain, scaling, dropout: c.lora_dropout.0, embedding };
        lora.variant = match asked {
            Asked::Plain => Variant::Plain,
            Asked::Dora => Variant::Dora(lora.first_magnitude(site, init.dtype)?),
            Asked::Mica => {
                lora.b.set_requires_grad(false);
                Variant::Mica
            }
            Asked::Blocks => {
                let config = peft.and_then(|p| p.use_bdlora.as_ref());
                match config.map(|c| Blocks::of(c, site, r)).transpose()?.flatten() {
                    Some(blocks) => {
                        let factor = if blocks.factor == Factor::A { &mut lora.a } else { &mut lora.b };
                        *factor = blocks.first(site, r, init)?;
                        Variant::Blocks(blocks)
                    }
                    None => Variant::Plain,
                }
            }
            Asked::Activated => Variant::Activated(None),
            Asked::Kasa => {
                let config = peft.and_then(|p| p.kasa_config.clone()).unwrap_or_default();
                Variant::Kasa(Kasa::new(&config, site, r, init)?)
            }
            Asked::Velora => {
                let config = peft.and_then(|p| p.velora_config.clone()).unwrap_or_default();
                Variant::Velora(Velora::new(&config, site, init)?)
            }
            Asked::MonteCarlo => {
                let config = peft.and_then(|p| p.monteclora_config.clone()).unwrap_or_default();
                Variant::MonteCarlo(Box::new(Sampler::new(&config, r, init)?))
            }
            Asked::Arrow => Variant::Arrow(Arrow::new(&peft.and_then(|p| p.arrow_config.clone()).unwrap_or_default())),
        };
        if let Some(group) = peft.and_then(|p| p.pooled(site)) {
            lora.pool(group, asked, site, r, init)?;
        }
        Ok(lora)
    }

    /// QALoRA's A, which is drawn after the whole one.
    fn pool(&mut self, group: usize, asked: Asked, site: &Site, r: usize, init: &mut crate::init::Init) -> Result<()> {
        if asked != Asked::Plain || !site.is_linear() || !site.inputs.is_multiple_of(group) {
            let why = format!(
                "groups of {group} inputs are for plain LoRA on layers that they divide, not for {}",
                site.path
            );
            return Err(Error::config("use_qalora", why));
        }
        let shape = [r, site.inputs / group];
        self.a = init.param(&shape, move |g| Ok(g.layer(&shape, false)?.0))?;
        self.variant = Variant::Pooled(group);
        Ok(())
    }

    /// A and B as they multiply.
    fn factors(&self, cx: &Context) -> Result<(Tensor, Tensor)> {
        let (a, b) = (self.a.value(cx.grad)?, self.b.value(cx.grad)?);
        Ok(match &self.variant {
            Variant::Blocks(blocks) if blocks.factor == Factor::A => (blocks.expanded(&a)?, b),
            Variant::Blocks(blocks) => (a, blocks.expanded(&b)?),
            Variant::Kasa(kasa) => (a, b.mul(&kasa.diagonal.value(cx.grad)?)?),
            Variant::MonteCarlo(sampler) if cx.training => (sampler.sampled(cx, &a)?, b),
            Variant::Pooled(group) => {
                // A mean of a group times the number of groups is its sum times their ratio.
                let (r, groups) = (a.dim(0), a.last_dim());
                let each = a.unsqueeze(2)?.broadcast_to(&[r, groups, *group])?.reshape((r, groups * group))?;
                (each.affine(groups as f64 / *group as f64, 0.)?, b)
            }
            _ => (a, b),
        })
    }

    /// The same as matrices of this weight's type.
    pub(super) fn matrices(&self, w: &Array) -> Result<(Array, Array)> {
        let (a, b) = self.factors(&Context { grad: false, ..Context::default() })?;
        let wide = |t: Tensor| -> Result<Array> { Ok(t.into_data().to_dtype(w.dtype())?.flatten_from(1)?) };
        Ok((wide(a)?, wide(b)?))
    }

    /// Whether B has fewer inputs than A outputs: each group of outputs reads its own rows of A.
    fn groups(&self) -> usize {
        match self.variant {
            Variant::Blocks(_) => 1,
            _ => self.a.shape()[0] / self.b.shape()[1].max(1),
        }
    }

    /// `w + s B A`. Fails on a convolution in groups, whose weight has no place for what A reads of other groups.
    fn updated(&self, w: &Array) -> Result<Array> {
        if self.groups() > 1 {
            return Err(Error::Invalid("LoRA on a convolution in groups cannot be merged".into()));
        }
        let (a, b) = self.matrices(w)?;
        ops::add_product(w, &b, &a, self.scaling)
    }

    pub(super) fn term(&self, cx: &Context) -> Result<LoraTerm> {
        let (a, b) = self.factors(cx)?;
        Ok(LoraTerm::new(a, b, self.scaling))
    }

    pub(super) fn drops(&self, cx: &Context) -> bool {
        cx.training && self.dropout > 0.
    }

    /// The rows of an input of these dimensions that it acts on, where those are not all.
    fn rows(&self, cx: &Context, dims: &[usize]) -> Result<Option<Vec<Range<usize>>>> {
        match &self.variant {
            Variant::Activated(Some(id)) => invocation::adapted(cx, *id, dims).map(Some),
            Variant::Activated(None) => Ok(Some(Vec::new())),
            _ => Ok(None),
        }
    }

    /// `B(A(x)) + b` without the scaling, for what dropout has left of x.
    fn low_rank(&self, call: &Call<'_>, x: &Input) -> Result<Tensor> {
        let cx = call.cx;
        match (x, call.site.convolution()) {
            (Input::Ids(ids), _) => {
                let rows = self.a.value(cx.grad)?.transpose(0, 1)?.contiguous()?;
                let inner = ops::embedding(&rows, &ids.data, &ids.shape)?;
                let y = ops::linear(&inner, &self.b.value(cx.grad)?, None, WeightLayout::OutIn)?;
                match call.weights {
                    // The layer multiplies its own rows, too (Gemma).
                    Weights::Embedding { scale, .. } if scale != 1. => y.affine(scale, 0.),
                    _ => Ok(y),
                }
            }
            (Input::Tensor(x), Some(shape)) => {
                let inner = ops::conv2d(x, &self.a.value(cx.grad)?, None, Conv2dShape { groups: 1, ..shape })?;
                let bias = self.b_bias.as_ref().map(|b| b.value(cx.grad)).transpose()?;
                let outer = Conv2dShape { groups: self.groups(), ..Conv2dShape::default() };
                ops::conv2d(&inner, &self.b.value(cx.grad)?, bias.as_ref(), outer)
            }
            (Input::Tensor(x), None) if self.compresses(cx) => {
                let Variant::Velora(velora) = &self.variant else { unreachable!("what compresses") };
                let inner = velora.product(x, &self.a.value(cx.grad)?)?;
                ops::linear(&inner, &self.b.value(cx.grad)?, None, WeightLayout::OutIn)
            }
            (Input::Tensor(x), None) => {
                let term = LoraTerm { scaling: 1., rows: self.rows(cx, x.dims())?, ..self.term(cx)? };
                let y = ops::lora_linear(x, None, &[term])?;
                match &self.b_bias {
                    Some(b) => y.add(&b.value(cx.grad)?),
                    None => Ok(y),
                }
            }
        }
    }

    /// Whether VeLoRA keeps its input compressed in this pass.
    fn compresses(&self, cx: &Context) -> bool {
        matches!(self.variant, Variant::Velora(_)) && cx.training && cx.grad
    }

    /// Whether it is a term of [`ops::lora_linear`] over inputs of this type.
    fn is_term(&self, cx: &Context, x: &Tensor) -> bool {
        let linear = !matches!(self.variant, Variant::Dora(_) | Variant::Arrow(_)) && !self.compresses(cx);
        linear && self.b_bias.is_none() && !self.drops(cx) && self.a.dtype() == x.dtype()
    }
}

impl LayerAdapter for Lora {
    const GROUPS: &'static [&'static str] = &[
        "lora_dropout",
        "lora_A",
        "lora_B",
        "lora_embedding_A",
        "lora_embedding_B",
        "lora_magnitude_vector",
        "lora_diag",
        SAMPLER,
        "lora_velora_embed",
    ];
    const OPTIONAL: &'static [&'static str] = &["lora_diag", SAMPLER, "lora_velora_embed"];
    const FUSED_ROWS: bool = true;

    fn parts(&self) -> Vec<Part<'_>> {
        let up = if matches!(self.variant, Variant::Mica) { Role::Frozen } else { Role::Trained };
        let mut parts = if self.embedding {
            let part = |group, param| Part::trained(group, param).rate(Rate::Embedding);
            vec![part("lora_embedding_A", &self.a), part("lora_embedding_B", &self.b).role(up)]
        } else {
            let b = Part::leaf("lora_B", ".weight", &self.b).rate(Rate::Up).role(up);
            vec![Part::leaf("lora_A", ".weight", &self.a), b]
        };
        parts.extend(self.b_bias.iter().map(|b| Part::leaf("lora_B", ".bias", b).rate(Rate::Up)));
        parts.extend(self.magnitude().map(|m| {
            let name = PartName::Grouped { group: "lora_magnitude_vector", leaf: ".weight".into(), saved: "".into() };
            Part::of(name, m)
        }));
        let saved = Role::Buffer { saved: true };
        match &self.variant {
            Variant::Kasa(kasa) => parts.push(Part::trained("lora_diag", &kasa.diagonal)),
            Variant::Velora(velora) => parts.push(Part::trained("lora_velora_embed", &velora.direction).role(saved)),
            Variant::MonteCarlo(s) => parts.extend([
                Part::leaf(SAMPLER, ".std_prior", &s.std_prior),
                Part::leaf(SAMPLER, ".expert_weights_prior", &s.expert_weights_prior),
                Part::leaf(SAMPLER, ".gaussian_var_prior", &s.gaussian_var_prior).role(saved),
                Part::leaf(SAMPLER, ".expert_weights", &s.expert_weights).role(saved),
            ]),
            _ => {}
        }
        parts
    }

    fn apply(&self, call: &Call<'_>, x: &Input, y: Tensor) -> Result<Tensor> {
        let cx = call.cx;
        if let Variant::Arrow(arrow) = &self.variant {
            return add_wide(&y, &cx.dropout(&arrow.delta(cx, x.tensor()?)?, self.dropout)?);
        }
        let dropped = match x {
            Input::Tensor(x) => Input::Tensor(cx.dropout(x, self.dropout)?.to_dtype(self.a.dtype())?),
            Input::Ids(ids) => Input::Ids(ids.clone()),
        };
        let delta = self.low_rank(call, &dropped)?.affine(self.scaling, 0.)?;
        match self.magnitude() {
            Some(magnitude) => self.rescaled(call, magnitude, &dropped, &y, &delta),
            None => add_wide(&y, &delta),
        }
    }

    fn merged_weight(&self, _: &Call<'_>, w: Array) -> Result<Array> {
        let sum = self.updated(&w)?;
        self.magnitude().map_or_else(|| Ok(sum.clone()), |m| Self::at_magnitude(m, &sum))
    }

    fn merged_bias(&self, _: &Call<'_>, _: &dyn Fn() -> Result<Array>, bias: Option<&Array>) -> Result<Option<Array>> {
        let (Some(own), Some(bias)) = (&self.b_bias, bias) else { return Ok(None) };
        Ok(Some((bias + (own.array()?.to_dtype(bias.dtype())? * self.scaling)?)?))
    }

    fn penalty(&self, cx: &Context) -> Result<Option<Tensor>> {
        match &self.variant {
            Variant::Kasa(kasa) => {
                let (a, b) = (self.a.value(cx.grad)?, self.b.value(cx.grad)?);
                kasa.penalty(&a, &b, &kasa.diagonal.value(cx.grad)?).map(Some)
            }
            Variant::MonteCarlo(sampler) => sampler.penalty(cx),
            _ => Ok(None),
        }
    }

    fn combined(of: &[(&Self, f64)], how: &mut Combining) -> Result<Option<Vec<Array>>> {
        super::combine::factors(of, how)
    }

    /// Adapters of a plain layer go through one kernel, each over its own rows where rows differ.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, next: &Next<'_>) -> Result<Option<Tensor>> {
        let cx = call.cx;
        let (Input::Tensor(x), Weights::Linear { weight, bias, layout }, Some(_)) = (x, call.weights, next.bare(cx))
        else {
            return Ok(None);
        };
        if !active.iter().all(|a| a.adapter.is_term(cx, x)) {
            return match active {
                [lone] if cx.rows.is_none() => lone.adapter.lone_dora(call, x),
                _ => Ok(None),
            };
        }
        let mut terms = active.iter().map(|a| a.adapter.term(cx)).collect::<Result<Vec<_>>>()?;
        let batch = x.dims().first().copied().unwrap_or(0);
        let runs = cx.row_runs(batch)?;
        // A row of the batch is as many of the product's rows.
        let width = x.data().elem_count() / (batch * x.last_dim()).max(1);
        for (term, Active { id, adapter }) in terms.iter_mut().zip(active) {
            term.rows = adapter.rows(cx, x.dims())?;
            if let Some(runs) = &runs {
                let own = runs.iter().filter(|run| run.adapter == Some(*id));
                let own = own.map(|run| run.rows.start * width..run.rows.end * width).collect::<Vec<_>>();
                term.rows = Some(match &term.rows {
                    Some(rows) => rows.iter().filter(|r| own.iter().any(|o| o.contains(&r.start))).cloned().collect(),
                    None => own,
                });
            }
        }
        let (w, bias) = (weight.weight(cx.grad)?, bias.map(|b| b.value(cx.grad)).transpose()?);
        ops::lora_linear(x, Some((&w, bias.as_ref(), layout)), &terms).map(Some)
    }
}
