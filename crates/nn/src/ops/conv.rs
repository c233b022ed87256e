//! Two-dimensional convolution as products over unfolded patches.

use super::gemm::gemm;
use super::host::{host, uninit};
use super::mat::{mat, mat_mut, Mat};
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

/// What a convolution does beside multiplying: the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dShape {
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
    pub groups: usize,
}

impl Default for Conv2dShape {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    inp: usize,
    height: usize,
    width: usize,
    out: usize,
    kernel: (usize, usize),
    rows: usize,
    cols: usize,
    shape: Conv2dShape,
}

impl Sizes {
    fn new(x: &Tensor, weight: &Tensor, shape: Conv2dShape) -> Result<Self> {
        let (&[batch, inp, height, width], &[out, per_group, kh, kw]) = (x.dims(), weight.dims()) else {
            return Err(Error::Argument(format!(
                "conv2d: expected [batch, in, height, width] and [out, in / groups, height, width], found {:?} and {:?}",
                x.dims(),
                weight.dims()
            )));
        };
        let Conv2dShape { stride, padding, dilation, groups } = shape;
        let reach = |kernel: usize| dilation * (kernel.max(1) - 1) + 1;
        let fits = stride > 0 && dilation > 0 && groups > 0 && kh > 0 && kw > 0 && out % groups == 0;
        if !fits || per_group * groups != inp || height + 2 * padding < reach(kh) || width + 2 * padding < reach(kw) {
            return Err(Error::Shape {
                path: "conv2d input".into(),
                expected: vec![batch, per_group * groups, height.max(kh), width.max(kw)],
                actual: x.dims().to_vec(),
            });
        }
        let steps = |size: usize, kernel: usize| (size + 2 * padding - reach(kernel)) / stride + 1;
        Ok(Self {
            batch,
            inp,
            height,
            width,
            out,
            kernel: (kh, kw),
            rows: steps(height, kh),
            cols: steps(width, kw),
            shape,
        })
    }

    /// Elements of one patch of one group.
    fn patch(&self) -> usize {
        self.inp / self.shape.groups * self.kernel.0 * self.kernel.1
    }

    fn positions(&self) -> usize {
        self.rows * self.cols
    }

    fn image(&self) -> usize {
        self.inp * self.height * self.width
    }

    /// Visits every (patch element, position, pixel of the image) of a group's channels that lies inside the image.
    #[inline(always)]
    fn taps(&self, group: usize, mut f: impl FnMut(usize, usize)) {
        let Conv2dShape { stride, padding, dilation, groups } = self.shape;
        let channels = self.inp / groups;
        let (kh, kw) = self.kernel;
        for c in 0..channels {
            for (dy, dx) in (0..kh).flat_map(|dy| (0..kw).map(move |dx| (dy, dx))) {
                let row = ((c * kh + dy) * kw + dx) * self.positions();
                for oy in 0..self.rows {
                    let y = (oy * stride + dy * dilation).wrapping_sub(padding);
                    if y >= self.height {
                        continue;
                    }
                    let line = ((group * channels + c) * self.height + y) * self.width;
                    for ox in 0..self.cols {
                        let x = (ox * stride + dx * dilation).wrapping_sub(padding);
                        if x < self.width {
                            f(row + oy * self.cols + ox, line + x);
                        }
                    }
                }
            }
        }
    }
}

/// `torch.nn.functional.conv2d` with one stride, padding and dilation for both directions and zero padding.
///
/// `x [batch, in, height, width]`, `weight [out, in / groups, kh, kw]`, `bias [out]` → `[batch, out, rows, cols]`. Gradients
/// are computed only for what is tracked. `x [batch, in, length]` and `weight [out, in / groups, kernel]` give
/// `torch.nn.functional.conv1d`.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, shape: Conv2dShape) -> Result<Tensor> {
    if let (&[batch, inp, _], 3) = (x.dims(), weight.rank()) {
        // An image of one row, whose padding is at its ends alone.
        let end = Tensor::from(Array::zeros((batch, inp, shape.padding), x.dtype(), x.device())?);
        let x = if shape.padding > 0 { Tensor::cat(&[&end, x, &end], -1)? } else { x.clone() };
        let flat = Conv2dShape { padding: 0, ..shape };
        return conv2d(&x.unsqueeze(2)?, &weight.unsqueeze(2)?, bias, flat)?.squeeze(2);
    }
    let size = Sizes::new(x, weight, shape)?;
    let y = if x.device().is_cpu() {
        dispatch!(x.dtype(), T => cpu::<T>(x, weight, size))?
    } else {
        composed(x, weight, size)?
    };
    match bias {
        Some(b) => y.add(&b.reshape((1, size.out, 1, 1))?),
        None => Ok(y),
    }
}

/// By candle's convolutions, whose gradients are convolutions again.
fn composed(x: &Tensor, weight: &Tensor, s: Sizes) -> Result<Tensor> {
    let Conv2dShape { stride, padding, dilation, groups } = s.shape;
    if groups != 1 {
        return Err(Error::Argument("conv2d: groups are supported on the CPU only".into()));
    }
    let (xd, wd) = (x.data().contiguous()?, weight.data().contiguous()?);
    let y = xd.conv2d(&wd, padding, stride, dilation, groups)?;
    let needs = (x.is_tracked(), weight.is_tracked());
    Ok(Tensor::from_op(y, &[x, weight], move |g| {
        let g = g.contiguous()?;
        let dx = if needs.0 {
            let used = |out: usize, kernel: usize| (out - 1) * stride + dilation * (kernel - 1) + 1;
            let extra = s.height + 2 * padding - used(s.rows, s.kernel.0);
            let dx = g.conv_transpose2d(&wd, padding, extra, stride, dilation)?;
            // Output padding is one number for both directions.
            Some(dx.narrow(2, 0, s.height.min(dx.dims()[2]))?.pad_to(3, s.width)?.contiguous()?)
        } else {
            None
        };
        let dw = if needs.1 {
            let (xt, gt) = (xd.transpose(0, 1)?.contiguous()?, g.transpose(0, 1)?.contiguous()?);
            let dw = xt.conv2d(&gt, padding, dilation, stride, 1)?;
            Some(dw.narrow(2, 0, s.kernel.0)?.narrow(3, 0, s.kernel.1)?.transpose(0, 1)?.contiguous()?)
        } else {
            None
        };
        Ok(vec![dx, dw])
    }))
}

trait PadTo {
    fn pad_to(&self, dim: usize, size: usize) -> candle_core::Result<Array>;
}

impl PadTo for Array {
    /// Cuts or fills with zeros at the end.
    fn pad_to(&self, dim: usize, size: usize) -> candle_core::Result<Array> {
        let now = self.dims()[dim];
        if now >= size {
            self.narrow(dim, 0, size)
        } else {
            self.pad_with_zeros(dim, 0, size - now)
        }
    }
}

fn cpu<T: Real>(x: &Tensor, weight: &Tensor, s: Sizes) -> Result<Tensor> {
    let dtype = x.dtype();
    let (xs, ws) = (prepared(x.data())?, prepared(weight.data())?);
    let groups = s.shape.groups;
    let (patch, positions, out) = (s.patch(), s.positions(), s.out / groups);
    let mut y = uninit::<T>(s.batch * s.out * positions);
    {
        let (xv, wv) = (host::<T>(&xs), host::<T>(&ws));
        // Patches outside the image stay zero in every image and group.
        let mut patches = vec![T::ZERO; patch * positions];
        for b in 0..s.batch {
            let image = &xv[b * s.image()..(b + 1) * s.image()];
            for g in 0..groups {
                s.taps(g, |at, pixel| patches[at] = image[pixel]);
                let w = &wv[g * out * patch..(g + 1) * out * patch];
                let y = &mut y[(b * s.out + g * out) * positions..][..out * positions];
                // SAFETY: the slices above have exactly these sizes; y is ours.
                unsafe {
                    let c = mat_mut(y, positions);
                    gemm((out, positions, patch), c, T::ZERO, mat(w, patch), mat(&patches, positions), T::ONE, true);
                }
            }
        }
    }
    let y = finish(y, &[s.batch, s.out, s.rows, s.cols], dtype)?;
    let needs = (x.is_tracked(), weight.is_tracked());
    let saved_x = needs.1.then_some(xs);
    Ok(Tensor::from_op(y, &[x, weight], move |g| {
        let grad = prepared(g)?;
        let (gv, wv) = (host::<T>(&grad), host::<T>(&ws));
        let xv = saved_x.as_ref().map(host::<T>);
        let mut dx = needs.0.then(|| vec![T::ZERO; s.batch * s.image()]);
        let mut dw = needs.1.then(|| vec![T::ZERO; s.out * patch]);
        let mut patches = vec![T::ZERO; patch * positions];
        for b in 0..s.batch {
            for g in 0..groups {
                let dy = &gv[(b * s.out + g * out) * positions..][..out * positions];
                if let (Some(dw), Some(xv)) = (&mut dw, &xv) {
                    let image = &xv[b * s.image()..(b + 1) * s.image()];
                    patches.fill(T::ZERO);
                    s.taps(g, |at, pixel| patches[at] = image[pixel]);
                    let dw = &mut dw[g * out * patch..(g + 1) * out * patch];
                    // SAFETY: as in the forward pass; dw is ours.
                    unsafe {
                        let (c, p) = (mat_mut(dw, patch), mat(&patches, positions).t());
                        gemm((out, patch, positions), c, T::ONE, mat(dy, positions), p, T::ONE, true);
                    }
                }
                if let Some(dx) = &mut dx {
                    let w: Mat<*const T> = mat(&wv[g * out * patch..(g + 1) * out * patch], patch).t();
                    // SAFETY: as above; the patches are ours.
                    unsafe {
                        let c = mat_mut(&mut patches, positions);
                        gemm((patch, positions, out), c, T::ZERO, w, mat(dy, positions), T::ONE, true);
                    }
                    let image = &mut dx[b * s.image()..(b + 1) * s.image()];
                    s.taps(g, |at, pixel| image[pixel] += patches[at]);
                }
            }
        }
        let dx = dx.map(|v| finish(v, &[s.batch, s.inp, s.height, s.width], dtype)).transpose()?;
        let dw = dw.map(|v| finish(v, ws.dims(), dtype)).transpose()?;
        Ok(vec![dx, dw])
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, values};
    use super::*;

    fn shapes() -> [(Conv2dShape, [usize; 4], [usize; 4]); 4] {
        [
            (Conv2dShape { padding: 1, ..Default::default() }, [2, 3, 5, 4], [4, 3, 3, 3]),
            (Conv2dShape { stride: 2, padding: 1, ..Default::default() }, [1, 2, 6, 5], [3, 2, 3, 2]),
            (Conv2dShape { dilation: 2, ..Default::default() }, [1, 2, 6, 7], [2, 2, 2, 3]),
            (Conv2dShape { groups: 2, padding: 1, stride: 2, ..Default::default() }, [2, 4, 5, 5], [6, 2, 3, 3]),
        ]
    }

    #[test]
    fn gradients_match_difference_quotients() {
        for (shape, x, w) in shapes() {
            check_gradients(&[values(&x, 1), values(&w, 2), values(&w[..1], 3)], |t| {
                conv2d(&t[0], &t[1], Some(&t[2]), shape)
            });
        }
    }

    #[test]
    fn one_row_is_a_sequence() {
        let shape = Conv2dShape { stride: 2, padding: 1, dilation: 2, groups: 2 };
        check_gradients(&[values(&[2, 4, 9], 1), values(&[6, 2, 3], 2), values(&[6], 3)], |t| {
            conv2d(&t[0], &t[1], Some(&t[2]), shape)
        });
        let (x, w) = (values(&[2, 4, 9], 1), values(&[6, 2, 3], 2));
        let y = conv2d(&x.clone().into(), &w.clone().into(), None, shape).unwrap();
        assert_close(y.data(), &x.conv1d(&w, 1, 2, 2, 2).unwrap(), 1e-12);
    }

    #[test]
    fn equals_its_composed_form_forward_and_backward() {
        for (shape, x, w) in shapes().into_iter().filter(|(s, _, _)| s.groups == 1) {
            let (x, w) = (values(&x, 1), values(&w, 2));
            let run = |fused: bool| {
                let (xt, xs) = super::super::testing::leaf(&x);
                let (wt, ws) = super::super::testing::leaf(&w);
                let size = Sizes::new(&xt, &wt, shape).unwrap();
                let y = if fused { cpu::<f64>(&xt, &wt, size) } else { composed(&xt, &wt, size) }.unwrap();
                super::super::testing::probe(&y).unwrap().backward().unwrap();
                (y.into_data(), xs.get().unwrap(), ws.get().unwrap())
            };
            let (a, b) = (run(true), run(false));
            assert_close(&a.0, &b.0, 1e-12);
            assert_close(&a.1, &b.1, 1e-12);
            assert_close(&a.2, &b.2, 1e-12);
        }
    }

    #[test]
    fn a_wrong_number_of_channels_is_a_shape_error() {
        let error =
            conv2d(&values(&[1, 2, 4, 4], 1).into(), &values(&[3, 3, 3, 3], 2).into(), None, Conv2dShape::default());
        assert_eq!(error.unwrap_err().code(), "ERR_SHAPE");
    }
}
