//! Operations on tensors.

use super::dtype::{parse_device, parse_dtype};
use super::handle::NativeTensor;
use super::shape::{checked_count, shape};
use crate::error::guard;
use candle_core::{DType, Device};
use napi_derive::napi;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Array, Error, Result, Tensor};

/// Two operands: tensors of any broadcastable shapes. Half types widen to the other's type, as PyTorch promotes.
fn promoted(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let rank = |d: DType| match d {
        DType::U8 => 0,
        DType::U32 => 1,
        DType::I64 => 2,
        DType::F16 => 3,
        DType::BF16 => 4,
        DType::F32 => 5,
        _ => 6,
    };
    let (x, y) = (a.dtype(), b.dtype());
    let wide = match (x, y) {
        (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
        _ if rank(x) >= rank(y) => x,
        _ => y,
    };
    Ok((a.to_dtype(wide)?, b.to_dtype(wide)?))
}

impl NativeTensor {
    fn map(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> napi::Result<Self> {
        guard(|| Ok(f(&self.get()?)?.into()))
    }

    fn map2(&self, other: &NativeTensor, f: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>) -> napi::Result<Self> {
        guard(|| {
            let (a, b) = promoted(&self.get()?, &other.get()?)?;
            Ok(f(&a, &b)?.into())
        })
    }
}

#[napi]
impl NativeTensor {
    #[napi]
    pub fn add(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::add)
    }

    #[napi]
    pub fn sub(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::sub)
    }

    #[napi]
    pub fn mul(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::mul)
    }

    #[napi]
    pub fn div(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::div)
    }

    #[napi]
    pub fn matmul(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::matmul)
    }

    #[napi]
    pub fn affine(&self, scale: f64, shift: f64) -> napi::Result<NativeTensor> {
        self.map(|t| t.affine(scale, shift))
    }

    /// `neg`, `sqr`, `sqrt`, `exp`, `log`, `tanh`, `sigmoid`, `relu`, `gelu`, `silu`, `abs`.
    #[napi]
    pub fn unary(&self, name: String) -> napi::Result<NativeTensor> {
        self.map(|t| match name.as_str() {
            "neg" => t.neg(),
            "sqr" => t.sqr(),
            "sqrt" => t.sqrt(),
            "exp" => t.exp(),
            "log" => t.log(),
            "tanh" => t.tanh(),
            "sigmoid" => t.sigmoid(),
            "relu" => t.relu(),
            "gelu" => t.gelu(),
            "silu" => t.silu(),
            "abs" => t.abs(),
            other => Err(Error::Argument(format!("unknown operation {:?}", printable(other, 40)))),
        })
    }

    #[napi]
    pub fn transpose(&self, d0: i32, d1: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.transpose(d0 as isize, d1 as isize))
    }

    /// One size may be -1: it is what is left.
    #[napi]
    pub fn reshape(&self, dims: Vec<f64>) -> napi::Result<NativeTensor> {
        self.map(|t| {
            let count = t.data().elem_count();
            let known: Vec<f64> = dims.iter().copied().filter(|&d| d != -1.).collect();
            let rest = checked_count(&shape(&known)?)?;
            let fill = count.checked_div(rest).unwrap_or(0);
            let full: Vec<usize> = dims.iter().map(|&d| if d == -1. { fill } else { d as usize }).collect();
            if dims.len() - known.len() > 1 || checked_count(&full)? != count {
                return Err(Error::Argument(format!("reshape: {:?} does not hold {count} elements", dims)));
            }
            t.reshape(full)
        })
    }

    #[napi]
    pub fn unsqueeze(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.unsqueeze(dim as isize))
    }

    #[napi]
    pub fn squeeze(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.squeeze(dim as isize))
    }

    #[napi]
    pub fn narrow(&self, dim: i32, start: u32, length: u32) -> napi::Result<NativeTensor> {
        self.map(|t| t.narrow(dim as isize, start as usize, length as usize))
    }

    #[napi]
    pub fn index_select(&self, dim: i32, index: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map(|t| {
            let index = checked_index(index, t, dim)?;
            if index.rank() != 1 {
                return Err(Error::Argument(format!("indexSelect: the index has shape {:?}", index.dims())));
            }
            t.index_select(&index, dim as isize)
        })
    }

    #[napi]
    pub fn gather(&self, dim: i32, index: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map(|t| t.gather(&checked_index(index, t, dim)?, dim as isize))
    }

    #[napi]
    pub fn sum(&self, dims: Option<Vec<i32>>, keep_dim: bool) -> napi::Result<NativeTensor> {
        self.map(|t| t.sum(axes(&dims).as_deref(), keep_dim))
    }

    #[napi]
    pub fn mean(&self, dims: Option<Vec<i32>>, keep_dim: bool) -> napi::Result<NativeTensor> {
        self.map(|t| t.mean(axes(&dims).as_deref(), keep_dim))
    }

    #[napi]
    pub fn max(&self, dim: i32, keep_dim: bool) -> napi::Result<NativeTensor> {
        self.map(|t| t.max(dim as isize, keep_dim))
    }

    #[napi]
    pub fn argmax(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| Ok(t.argmax(dim as isize)?.to_dtype(DType::I64)?.into()))
    }

    #[napi]
    pub fn softmax(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.softmax(dim as isize))
    }

    #[napi]
    pub fn log_softmax(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.log_softmax(dim as isize))
    }

    /// Mean over the labels that are not -100.
    #[napi]
    pub fn cross_entropy(&self, labels: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map(|t| {
            let labels = labels.get()?.into_data().to_dtype(DType::I64)?.to_device(&Device::Cpu)?.flatten_all()?;
            swift_tuners_nn::ops::cross_entropy(t, &labels.to_vec1::<i64>()?)
        })
    }

    #[napi]
    pub fn to_dtype(&self, dtype: String) -> napi::Result<NativeTensor> {
        self.map(|t| t.to_dtype(parse_dtype(&dtype)?))
    }

    #[napi]
    pub fn to_device(&self, device: String) -> napi::Result<NativeTensor> {
        self.map(|t| t.to_device(&parse_device(&device)?))
    }

    #[napi]
    pub fn detach(&self) -> napi::Result<NativeTensor> {
        self.map(|t| Ok(t.detach()))
    }
}

fn axes(dims: &Option<Vec<i32>>) -> Option<Vec<isize>> {
    dims.as_ref().map(|d| d.iter().map(|&x| x as isize).collect())
}

/// Indices as u32, each within the dimension: candle would read past the end.
fn checked_index(index: &NativeTensor, t: &Tensor, dim: i32) -> Result<Array> {
    let rank = t.rank() as i32;
    let at = if dim < 0 { dim + rank } else { dim };
    if at < 0 || at >= rank {
        return Err(Error::Argument(format!("dimension {dim} is out of range for a tensor of rank {rank}")));
    }
    let size = t.dim(at as usize) as i64;
    let index = index.get()?.into_data().to_dtype(DType::I64)?.to_device(&Device::Cpu)?;
    let values: Vec<i64> = index.flatten_all()?.to_vec1()?;
    if let Some(bad) = values.iter().find(|&&i| i < 0 || i >= size) {
        return Err(Error::Argument(format!("index {bad} is out of range for a dimension of {size}")));
    }
    let values: Vec<u32> = values.into_iter().map(|i| i as u32).collect();
    Ok(Array::from_vec(values, index.dims(), t.device())?)
}
