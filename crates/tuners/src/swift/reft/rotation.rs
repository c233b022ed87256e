//! The orthonormal matrix of an intervention.

use crate::init::Init;
use candle_core::{DType, Device};
use swift_tuners_nn::linalg::unique_q;
use swift_tuners_nn::{Array, Context, Error, Param, Result, Tensor};

pub const ORIGINAL: &str = "rotate_layer.parametrizations.weight.original";
pub const BASE: &str = "rotate_layer.parametrizations.weight.0.base";

/// `R = base · H₁ … H_r I · signs`: a product of Householder reflections whose vectors are the columns of `original` below its
/// diagonal, the signs its diagonal. `torch.nn.utils.parametrizations.orthogonal` of a tall matrix.
#[derive(Clone)]
pub struct Rotation {
    /// `[dim, r]`
    pub original: Param,
    /// `[dim, dim]`, constant.
    pub base: Param,
}

impl Rotation {
    pub fn new(width: usize, r: usize, init: &mut Init) -> Result<Self> {
        let (n, device) = (width, init.device.clone());
        let original = Param::new(no_reflection(n, r)?.to_dtype(init.dtype)?.to_device(&device)?, true);
        // Random orthonormal columns, completed by random ones.
        let base = init.param(&[n, n], move |g| {
            let first = g.orthogonal(&[n, r], 1.)?;
            unique_q(&Array::cat(&[&first, &g.randn(&[n, n - r])?], 1)?)
        })?;
        base.set_requires_grad(false);
        Ok(Self { original, base })
    }

    pub fn matrix(&self, cx: &Context) -> Result<Tensor> {
        let original = self.original.value(cx.grad)?;
        let (n, r) = (original.dim(0), original.dim(1));
        let (dtype, device) = (original.dtype(), original.device().clone());
        let fill = |f: &dyn Fn(usize, usize) -> bool| -> Result<Tensor> {
            let values: Vec<f32> =
                (0..n).flat_map(|i| (0..r).map(move |j| (i, j))).map(|(i, j)| f32::from(u8::from(f(i, j)))).collect();
            Ok(Array::from_vec(values, (n, r), &Device::Cpu)?.to_dtype(dtype)?.to_device(&device)?.into())
        };
        let unit = fill(&|i, j| i == j)?;
        let vectors = original.mul(&fill(&|i, j| i > j)?)?;
        let tau = vectors.sqr()?.sum(Some(&[0]), true)?.affine(1., 1.)?; // [1, r], 2 / τ
        let vectors = vectors.add(&unit)?;
        let mut q = unit.clone();
        for j in (0..r).rev() {
            let v = vectors.narrow(1, j, 1)?.contiguous()?; // [n, 1]
            let reflected = v.matmul(&v.transpose(0, 1)?.contiguous()?.matmul(&q)?)?.affine(2., 0.)?;
            q = q.sub(&reflected.div(&tau.narrow(1, j, 1)?)?)?;
        }
        // The signs are constants for the gradient.
        // Python truncates them to integers, so that weight decay turns a column off: -0.99 becomes 0. Here the sign counts.
        let signs = original.data().mul(unit.data())?.sum_keepdim(0)?.sign()?;
        let q = q.mul(&signs.into())?;
        Tensor::from(self.base.array()?).matmul(&q)
    }
}

/// Householder parameters that give orthonormal columns in the span of `columns [dim, r]` (the columns themselves when they
/// are orthonormal): no reflection, and a base that completes them.
pub fn from_columns(columns: &Array) -> Result<(Array, Array)> {
    let (n, r) = columns.dims2()?;
    let values: Vec<Vec<f32>> = columns.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec2()?;
    // Gram and Schmidt, twice over, first over the columns and then over the axes until the basis is complete.
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(n);
    let candidates = (0..r).map(|j| values.iter().map(|row| f64::from(row[j])).collect::<Vec<f64>>());
    let axes = (0..n).map(|i| (0..n).map(|k| f64::from(u8::from(i == k))).collect::<Vec<f64>>());
    for mut v in candidates.chain(axes) {
        if basis.len() == n {
            break;
        }
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let before = length(&v);
        for _ in 0..2 {
            for b in &basis {
                let dot: f64 = b.iter().zip(&v).map(|(x, y)| x * y).sum();
                v.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
            }
        }
        let after = length(&v);
        if after > 1e-6 * before.max(1e-30) {
            v.iter_mut().for_each(|x| *x /= after);
            basis.push(v);
        } else if basis.len() < r {
            return Err(Error::Invalid("ReFT: the rotation's columns are linearly dependent".into()));
        }
    }
    let base: Vec<f32> = (0..n).flat_map(|i| basis.iter().map(move |b| b[i] as f32)).collect();
    Ok((no_reflection(n, r)?, Array::from_vec(base, (n, n), &Device::Cpu)?))
}

/// Householder parameters `[n, r]` that reflect nothing: their product is the first r columns of the base.
fn no_reflection(n: usize, r: usize) -> Result<Array> {
    let values = (0..n * r).map(|at| if at / r == at % r { -1f32 } else { 0. }).collect();
    Ok(Array::from_vec(values, (n, r), &Device::Cpu)?)
}
