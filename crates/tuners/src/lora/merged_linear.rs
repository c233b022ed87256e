//! SWIFT's merged linear: LoRA on some of the equal blocks of output rows of one projection (a fused q, k, v).

use super::LoraConfig;
use crate::config::check_adapter_name;
use candle_core::DType;
use swift_tuners_nn::module::{Args, Next, Node, Part, PartName, Rate, Rows, Tuner, Value, Visitor, Weights};
use swift_tuners_nn::ops::{self, LoraTerm, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Param, Result, Tensor};

/// With g blocks enabled: `a [r g, in]`, `b [g · out / blocks, r]`; the k-th enabled block gets `s B_k A_k`.
#[derive(Clone)]
pub struct MergedLinear {
    pub id: AdapterId,
    pub name: String,
    pub a: Param,
    pub b: Param,
    enabled: Vec<bool>,
    r: usize,
    block: usize,
    scaling: f64,
    dropout: f64,
}

impl MergedLinear {
    #[allow(clippy::too_many_arguments)]
    pub fn attach(
        node: &mut Node,
        path: &str,
        id: AdapterId,
        name: &str,
        config: &LoraConfig,
        enabled: &[bool],
        r: usize,
        scaling: f64,
        dtype: Option<DType>,
        seed: u64,
    ) -> Result<bool> {
        check_adapter_name(name)?;
        let refuse = |why: String| Err(Error::config("use_merged_linear", format!("{path}: {why}")));
        if node.tuner::<Self>().is_some() {
            // Both would be called lora_A in memory.
            return refuse("a second merged linear on one module is not supported".into());
        }
        let Some(Weights::Linear { weight, layout: WeightLayout::OutIn, .. }) = node.module().weights() else {
            return refuse("not a torch.nn.Linear".into());
        };
        let (shape, device) = (weight.shape(), weight.device());
        let &[out, inp] = shape.as_slice() else {
            return refuse(format!("its weight has the shape {shape:?}"));
        };
        if out % enabled.len() != 0 {
            return Err(Error::config(
                "enable_lora",
                format!("{path}: {} blocks do not divide {out} outputs", enabled.len()),
            ));
        }
        let block = out / enabled.len();
        let groups = enabled.iter().filter(|&&e| e).count();
        let dtype = dtype.unwrap_or(weight.dtype());
        let size = r * groups;
        let a = Param::pending(&[size, inp], dtype, &device, true, move || {
            let (bound, cpu) = (1. / (inp as f64).sqrt(), &candle_core::Device::Cpu);
            swift_tuners_nn::init::Rng::new(seed).uniform_array(&[size, inp], bound, DType::F32, cpu)
        });
        let b = Param::new(Array::zeros((block * groups, r), dtype, &device)?, true);
        node.tuners.push(Box::new(Self {
            id,
            name: name.to_owned(),
            a,
            b,
            enabled: enabled.to_vec(),
            r,
            block,
            scaling,
            dropout: config.dropout,
        }));
        Ok(false)
    }
}

impl Tuner for MergedLinear {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let x = args.tensor(0, "input")?.clone();
        let y = next.run(cx, args)?.into_tensor()?;
        let (a, b) = (self.a.value(cx.grad)?, self.b.value(cx.grad)?);
        let x = cx.dropout(&x, self.dropout)?.to_dtype(a.dtype())?;
        let mut blocks: Vec<Tensor> = Vec::with_capacity(self.enabled.len());
        let mut k = 0;
        for &on in &self.enabled {
            if on {
                let a = a.narrow(0, k * self.r, self.r)?.contiguous()?;
                let b = b.narrow(0, k * self.block, self.block)?.contiguous()?;
                let term = LoraTerm::new(a, b, self.scaling);
                blocks.push(ops::lora_linear(&x, None, &[term])?);
                k += 1;
            } else {
                let mut shape = y.dims().to_vec();
                *shape.last_mut().expect("a linear layer's output has dimensions") = self.block;
                blocks.push(Array::zeros(shape, a.dtype(), a.device())?.into());
            }
        }
        let delta = Tensor::cat(&blocks.iter().collect::<Vec<_>>(), -1)?;
        Ok(y.add(&delta.to_dtype(y.dtype())?)?.into())
    }

    fn adapters(&self) -> &[AdapterId] {
        std::slice::from_ref(&self.id)
    }

    fn rows(&self, _: &Context) -> Result<Rows> {
        Ok(Rows::Apart)
    }

    fn parts(&self, id: AdapterId) -> Vec<Part<'_>> {
        if id != self.id {
            return Vec::new();
        }
        let part = |group, param| Part { name: PartName::Nameless { group }, ..Part::trained("", param) };
        vec![part("lora_A", &self.a), part("lora_B", &self.b).rate(Rate::Up)]
    }

    fn merges(&self) -> bool {
        true
    }

    fn merged_weight(&self, _: AdapterId, _: &Weights<'_>, w: Array) -> Result<Array> {
        let (a, b) = (self.a.array()?.to_dtype(w.dtype())?, self.b.array()?.to_dtype(w.dtype())?);
        let mut blocks = Vec::with_capacity(self.enabled.len());
        let mut k = 0;
        for &on in &self.enabled {
            if on {
                let (ak, bk) = (a.narrow(0, k * self.r, self.r)?, b.narrow(0, k * self.block, self.block)?);
                blocks.push((bk.matmul(&ak)? * self.scaling)?);
                k += 1;
            } else {
                blocks.push(Array::zeros((self.block, a.dims()[1]), w.dtype(), a.device())?);
            }
        }
        Ok((w + Array::cat(&blocks, 0)?)?)
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        // Python's names carry no adapter.
        v.param("lora_A", &self.a);
        v.param("lora_B", &self.b);
    }

    fn detach(&mut self, id: AdapterId) -> bool {
        self.id == id
    }
}
