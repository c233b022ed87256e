//! Adapters of single layers: what they do, and the one tuner that runs all of them.

use crate::site::{Call, Input, Site};
use candle_core::DType;
use std::sync::Arc;
use swift_tuners_nn::combine::Combining;
use swift_tuners_nn::module::{Args, Next, Part, Role, Rows, Steps, Tuner, Value, Visitor, Weights};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Result, Tensor};

/// One adapter at one layer: what it adds to the weight, or makes of what goes in and comes out.
///
/// `y = output(base(input(x)) + x ΔWᵀ)`. What PEFT calls merging is the same on the identity.
pub trait LayerAdapter: Clone + Send + Sync + 'static {
    /// The modules of Python's that hold its tensors, in order.
    const GROUPS: &'static [&'static str];
    /// Those of them that Python makes for layers that need them only.
    const OPTIONAL: &'static [&'static str] = &[];
    /// What the wrapped layer is called; nothing where the tuner takes the layer's own place.
    const BASE_NAME: Option<&'static str> = Some("base_layer");
    /// Whether it can go into the weight.
    const MERGES: bool = true;
    /// Whether [`LayerAdapter::fused`] takes batches whose rows differ.
    const FUSED_ROWS: bool = false;
    /// Whether the map of the adapter that was activated first acts on the input first. Mostly it is the last: the product of all stands
    /// behind the weight in the order of activation.
    const FIRST_MAPS_FIRST: bool = false;
    /// Whether [`LayerAdapter::input`] maps the patches that a convolution multiplies, which is done in its kernel; otherwise it gets the
    /// image.
    const MAPS_PATCHES: bool = true;
    /// Whether [`LayerAdapter::constrain`] does anything.
    const CONSTRAINS: bool = false;

    /// In Python's order; the one place where names, keys and roles stand.
    fn parts(&self) -> Vec<Part<'_>>;

    /// Whether [`LayerAdapter::input`] does anything.
    fn maps_input(&self) -> bool {
        false
    }

    /// What the base layer gets instead of `x [.., in]`.
    fn input(&self, _call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }

    /// ΔW `[out, in]`, scaled.
    fn delta(&self, _call: &Call<'_>) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// `x ΔWᵀ`, where going by the factors is cheaper than forming ΔW.
    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        self.delta(call)?.map(|delta| call.times(x, &delta)).transpose()
    }

    /// What becomes of the layer's output `y [.., out]`; nothing when it stays.
    fn output(&self, _call: &Call<'_>, _y: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// The whole of what is done to the output `y` of the layers before; overridden where that is no sum and no map.
    fn apply(&self, call: &Call<'_>, x: &Input, y: Tensor) -> Result<Tensor> {
        let y = match self.product(call, x)? {
            Some(delta) => add_wide(&y, &delta)?,
            None => y,
        };
        Ok(self.output(call, &y)?.unwrap_or(y))
    }

    /// W' of `w [out, in]`.
    fn merged_weight(&self, call: &Call<'_>, w: Array) -> Result<Array> {
        let mut m = Tensor::from(w);
        if self.maps_input() {
            m = self.mapped(call, &m)?;
        }
        if let Some(delta) = self.delta(call)? {
            m = m.add(&delta)?;
        }
        let rows = m.transpose(0, 1)?.contiguous()?; // [in, out], what the units give
        let zero = rows.narrow(0, 0, 1)?.affine(0., 0.)?;
        if let (Some(y), Some(shift)) = (self.output(call, &rows)?, self.output(call, &zero)?) {
            m = y.sub(&shift)?.transpose(0, 1)?.contiguous()?;
        }
        Ok(m.into_data())
    }

    /// b' of the bias `[out]`; nothing when it stays. Fails where there is no bias and one would be needed.
    fn merged_bias(
        &self,
        call: &Call<'_>,
        _w: &dyn Fn() -> Result<Array>,
        bias: Option<&Array>,
    ) -> Result<Option<Array>> {
        let Some(bias) = bias else {
            let zero = Array::zeros((1, call.site.outputs), DType::F32, &call.site.device)?;
            let shifted = match self.output(call, &zero.into())? {
                Some(y) => y.data().abs()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()? != 0.,
                None => false,
            };
            if shifted {
                return Err(Error::Invalid(format!("{} has no bias to merge into", call.site.path)));
            }
            return Ok(None);
        };
        let y = self.output(call, &Tensor::from(bias.unsqueeze(0)?))?;
        y.map(|y| Ok(y.into_data().flatten_all()?)).transpose()
    }

    /// `w input(I)ᵀ`: what the layer multiplies by when its inputs are mapped.
    fn mapped(&self, call: &Call<'_>, w: &Tensor) -> Result<Tensor> {
        let unit = Array::eye(w.dim(1), w.dtype(), w.device())?;
        ops::linear(w, &self.input(call, &unit.into())?, None, WeightLayout::OutIn)
    }

    /// Puts what trains back to where it may be, before an optimizer's step.
    fn constrain(&self) -> Result<()> {
        Ok(())
    }

    /// The values of an adapter that is `Σ wᵢ adapterᵢ`, in the order of [`LayerAdapter::parts`], where that is one of them.
    fn combined(_of: &[(&Self, f64)], _how: &mut Combining) -> Result<Option<Vec<Array>>> {
        Ok(None)
    }

    /// What it wants added to the loss, after a pass with `cx`.
    fn penalty(&self, _cx: &Context) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// A path of its own over all active ones; `None` takes the general one.
    fn fused(_active: &[Active<'_, Self>], _call: &Call<'_>, _x: &Input, _next: &Next<'_>) -> Result<Option<Tensor>> {
        Ok(None)
    }
}

/// An active adapter of a layer.
pub struct Active<'a, D> {
    pub id: AdapterId,
    pub adapter: &'a D,
}

/// All adapters of one kind on one layer.
#[derive(Clone)]
pub struct Layer<D> {
    ids: Vec<AdapterId>,
    entries: Vec<(String, D)>,
    site: Arc<Site>,
}

impl<D: LayerAdapter> Layer<D> {
    pub fn new(site: Site) -> Self {
        Self { ids: Vec::new(), entries: Vec::new(), site: Arc::new(site) }
    }

    pub fn push(&mut self, id: AdapterId, name: &str, adapter: D) {
        self.ids.push(id);
        self.entries.push((name.to_owned(), adapter));
    }

    /// The adapters with their names, in the order of attaching.
    pub fn entries(&self) -> &[(String, D)] {
        &self.entries
    }

    pub fn adapter(&self, id: AdapterId) -> Option<&D> {
        self.ids.binary_search(&id).ok().map(|at| &self.entries[at].1)
    }

    pub fn adapter_mut(&mut self, id: AdapterId) -> Option<&mut D> {
        self.ids.binary_search(&id).ok().map(|at| &mut self.entries[at].1)
    }

    pub fn each_mut(&mut self, f: &mut dyn FnMut(&mut D)) {
        self.entries.iter_mut().for_each(|(_, adapter)| f(adapter));
    }

    fn general(active: &[Active<'_, D>], call: &Call<'_>, args: Args, x: &Input, next: Next<'_>) -> Result<Value> {
        let (cx, active) = (call.cx, active.iter().map(|a| a.adapter).collect::<Vec<_>>());
        let mut y = match Self::base(call, &active, x)? {
            (Some(weight), _) => convolve(call, x.tensor()?, &weight)?,
            (None, Some(mapped)) => {
                let mut args = args;
                args.positional[0] = mapped.into();
                next.run(cx, args)?.into_tensor()?
            }
            (None, None) => next.run(cx, args)?.into_tensor()?,
        };
        let dtype = y.dtype();
        for adapter in active {
            y = adapter.apply(call, x, y)?;
        }
        Ok(y.to_dtype(dtype)?.into())
    }

    /// What the base layer runs with in place of its weight, or of its input.
    fn base(call: &Call<'_>, active: &[&D], x: &Input) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Input::Tensor(x) = x else { return Ok((None, None)) };
        if D::MAPS_PATCHES && call.site.convolution().is_some() {
            return Ok((Self::mapped_kernel(call, active)?, None));
        }
        let mut order: Vec<&D> = active.iter().copied().filter(|a| a.maps_input()).collect();
        if !D::FIRST_MAPS_FIRST {
            order.reverse();
        }
        let mut mapped: Option<Tensor> = None;
        for adapter in order {
            mapped = Some(adapter.input(call, mapped.as_ref().unwrap_or(x))?);
        }
        Ok((None, mapped.map(|m| m.to_dtype(x.dtype())).transpose()?))
    }

    /// A convolution multiplies patches, which are never formed: what maps them goes into the kernel.
    fn mapped_kernel(call: &Call<'_>, active: &[&D]) -> Result<Option<Tensor>> {
        let mut kernel: Option<Tensor> = None;
        for adapter in active.iter().filter(|a| a.maps_input()) {
            let w = kernel.map_or_else(|| Ok::<_, Error>(call.weights.matrix()?.into()), Ok)?;
            let flat = Call::merging(call.cx, call.site, call.weights, w.data());
            kernel = Some(adapter.mapped(&flat, &w)?);
        }
        kernel.map(|k| k.reshape(call.site.shape.as_slice())).transpose()
    }
}

fn convolve(call: &Call<'_>, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
    let Some(shape) = call.site.convolution() else {
        return Err(Error::Invalid(format!("{} is no convolution", call.site.path)));
    };
    let bias = call.weights.bias().map(|b| b.value(call.cx.grad)?.to_dtype(kernel.dtype())).transpose()?;
    ops::conv2d(&x.to_dtype(kernel.dtype())?, kernel, bias.as_ref(), shape)?.to_dtype(x.dtype())
}

/// The sum in the wider of both types.
pub fn add_wide(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let wide = wider(a.dtype(), b.dtype());
    a.to_dtype(wide)?.add(&b.to_dtype(wide)?)
}

pub fn wider(a: DType, b: DType) -> DType {
    if a == b {
        a
    } else if a == DType::F64 || b == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

impl<D: LayerAdapter> Tuner for Layer<D> {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let Some(weights) = next.module().weights() else {
            return Err(Error::Invalid(format!("{} has no weight", self.site.path)));
        };
        let call = Call::new(cx, &self.site, weights);
        let x = Input::of(&args)?;
        let active: Vec<Active<'_, D>> =
            cx.active.iter().filter_map(|&id| Some(Active { id, adapter: self.adapter(id)? })).collect();
        if let Some(y) = D::fused(&active, &call, &x, &next)? {
            return Ok(y.into());
        }
        if cx.rows.is_none() {
            return Self::general(&active, &call, args, &x, next);
        }
        // These rows cannot go together after all.
        cx.by_rows(&args, |cx, args| {
            if cx.active.iter().any(|&id| self.adapter(id).is_some()) {
                self.around(cx, args, next)
            } else {
                next.run(cx, args)
            }
        })
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn rows(&self, _: &Context) -> Result<Rows> {
        Ok(if D::FUSED_ROWS { Rows::Together } else { Rows::Apart })
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for &group in D::GROUPS {
            let nameless = D::BASE_NAME.is_none();
            let is_here = |p: &Part<'_>| p.name.is_in(group);
            let used = || self.entries.iter().any(|(_, adapter)| adapter.parts().iter().any(is_here));
            if !nameless && (!D::OPTIONAL.contains(&group) || used()) {
                v.scope(group);
            }
            for (name, adapter) in &self.entries {
                for part in adapter.parts() {
                    if !part.name.is_in(group) {
                        continue;
                    }
                    let full = part.name.in_memory(name);
                    match part.role {
                        Role::Buffer { saved } => v.buffer(&full, part.param, saved),
                        Role::Made => {}
                        _ => v.param(&full, part.param),
                    }
                }
            }
        }
    }

    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        self.adapter(adapter).map(LayerAdapter::parts).unwrap_or_default()
    }

    fn rename(&mut self, adapter: AdapterId, name: &str) {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.entries[at].0 = name.to_owned();
        }
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.entries.remove(at);
        }
        self.ids.is_empty()
    }

    fn base_name(&self) -> Option<&'static str> {
        D::BASE_NAME
    }

    fn merges(&self) -> bool {
        D::MERGES
    }

    fn merged_weight(&self, adapter: AdapterId, weights: &Weights<'_>, w: Array) -> Result<Array> {
        let Some(adapter) = self.adapter(adapter) else { return Ok(w) };
        let cx = Context { grad: false, ..Context::default() };
        let call = Call::merging(&cx, &self.site, *weights, &w);
        adapter.merged_weight(&call, w)
    }

    fn merged_bias(
        &self,
        adapter: AdapterId,
        weights: &Weights<'_>,
        w: &dyn Fn() -> Result<Array>,
        bias: Option<&Array>,
    ) -> Result<Option<Array>> {
        let Some(adapter) = self.adapter(adapter) else { return Ok(None) };
        let cx = Context { grad: false, ..Context::default() };
        let like = Array::zeros(1, bias.map_or(DType::F32, |b| b.dtype()), &self.site.device)?;
        adapter.merged_bias(&Call::merging(&cx, &self.site, *weights, &like), w, bias)
    }

    fn steps(&self) -> Option<&dyn Steps> {
        if D::CONSTRAINS {
            Some(self)
        } else {
            None
        }
    }

    fn penalty(&self, adapter: AdapterId, cx: &Context) -> Result<Option<Tensor>> {
        self.adapter(adapter).map_or(Ok(None), |a| a.penalty(cx))
    }

    fn combined(&self, of: &[(AdapterId, f64)], how: &mut Combining) -> Result<Option<Vec<Array>>> {
        let here: Vec<(&D, f64)> = of.iter().filter_map(|&(id, w)| Some((self.adapter(id)?, w))).collect();
        if here.is_empty() {
            return Ok(None);
        }
        D::combined(&here, how)
    }
}

impl<D: LayerAdapter> Steps for Layer<D> {
    fn constrain(&self) -> Result<()> {
        self.entries.iter().try_for_each(|(_, adapter)| adapter.constrain())
    }
}
