//! Patches of an image as rows, and the image that rows of patches add up to.

use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

/// Every patch of a kernel's size that lies inside the image, one beside the other: `x [batch, channels, height, width]` →
/// `[batch · rows · columns, channels · kh · kw]`, positions in reading order, a patch channel by channel.
///
/// `torch.nn.functional.unfold` with a stride of one and no padding, patches as rows.
pub fn patches(x: &Tensor, kernel: (usize, usize)) -> Result<Tensor> {
    let size = Size::of(x.dims(), kernel)?;
    let y = size.unfold(x.data())?;
    Ok(Tensor::from_op(y, &[x], move |g| Ok(vec![Some(size.fold(g)?)])))
}

/// The sum of patches at their places: what [`patches`] gives of an image of shape `dims`, or what has become of it → that
/// shape. Pixels that several patches have get the sum of all.
///
/// `torch.nn.functional.fold`.
pub fn from_patches(rows: &Tensor, dims: &[usize], kernel: (usize, usize)) -> Result<Tensor> {
    let size = Size::of(dims, kernel)?;
    if rows.dims() != size.rows() {
        return Err(Error::Shape {
            path: "patches".into(),
            expected: size.rows().to_vec(),
            actual: rows.dims().to_vec(),
        });
    }
    let y = size.fold(rows.data())?;
    Ok(Tensor::from_op(y, &[rows], move |g| Ok(vec![Some(size.unfold(g)?)])))
}

#[derive(Clone, Copy)]
struct Size {
    image: [usize; 4],
    kernel: (usize, usize),
    /// Positions of a patch.
    at: (usize, usize),
}

impl Size {
    fn of(dims: &[usize], kernel: (usize, usize)) -> Result<Self> {
        match *dims {
            [b, c, h, w] if kernel.0 * kernel.1 > 0 && h >= kernel.0 && w >= kernel.1 => {
                Ok(Self { image: [b, c, h, w], kernel, at: (h - kernel.0 + 1, w - kernel.1 + 1) })
            }
            _ => Err(Error::Shape {
                path: "image to cut into patches".into(),
                expected: vec![1, 1, kernel.0, kernel.1],
                actual: dims.to_vec(),
            }),
        }
    }

    fn rows(&self) -> [usize; 2] {
        let [b, c, ..] = self.image;
        [b * self.at.0 * self.at.1, c * self.kernel.0 * self.kernel.1]
    }

    /// Rows and columns of the patch's elements.
    fn taps(&self) -> impl Iterator<Item = (usize, usize)> {
        let (height, width) = self.kernel;
        (0..height).flat_map(move |dy| (0..width).map(move |dx| (dy, dx)))
    }

    fn unfold(&self, x: &Array) -> Result<Array> {
        let x = x.contiguous()?;
        let taps: Vec<Array> = self
            .taps()
            .map(|(dy, dx)| x.narrow(2, dy, self.at.0)?.narrow(3, dx, self.at.1))
            .collect::<candle_core::Result<_>>()?;
        let rows = self.rows();
        Ok(Array::stack(&taps, 2)?.permute((0, 3, 4, 1, 2))?.contiguous()?.reshape(rows.as_slice())?)
    }

    fn fold(&self, rows: &Array) -> Result<Array> {
        let ([b, c, h, w], (oh, ow)) = (self.image, self.at);
        let taps = self.kernel.0 * self.kernel.1;
        let rows = rows.contiguous()?.reshape((b, oh, ow, c, taps))?.permute((4, 0, 3, 1, 2))?.contiguous()?;
        let mut image: Option<Array> = None;
        for (i, (dy, dx)) in self.taps().enumerate() {
            let tap = rows.get(i)?.pad_with_zeros(2, dy, h - oh - dy)?.pad_with_zeros(3, dx, w - ow - dx)?;
            image = Some(match image {
                Some(sum) => (sum + tap)?,
                None => tap,
            });
        }
        image.ok_or_else(|| Error::Argument("patches of no size".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};
    use candle_core::Device;

    #[test]
    fn a_kernel_of_patches_is_a_convolution() {
        let (x, w) = (values(&[2, 3, 5, 4], 1), values(&[7, 3, 3, 2], 2));
        let y = x.conv2d(&w, 0, 1, 1, 1).unwrap().permute((0, 2, 3, 1)).unwrap().flatten_to(2).unwrap();
        let rows = patches(&x.into(), (3, 2)).unwrap();
        let product = rows.data().matmul(&w.flatten_from(1).unwrap().t().unwrap()).unwrap();
        crate::ops::testing::assert_close(&product, &y, 1e-12);
    }

    #[test]
    fn pixels_that_several_patches_have_are_summed() {
        let ones = Array::ones((4, 4), candle_core::DType::F64, &Device::Cpu).unwrap();
        let sum = from_patches(&ones.into(), &[1, 1, 3, 3], (2, 2)).unwrap();
        let expected = [1., 2., 1., 2., 4., 2., 1., 2., 1.];
        assert_eq!(sum.into_data().flatten_all().unwrap().to_vec1::<f64>().unwrap(), expected);
    }

    #[test]
    fn gradients_match_difference_quotients() {
        check_gradients(&[values(&[2, 2, 4, 3], 3)], |t| patches(&t[0], (2, 3)));
        check_gradients(&[values(&[6, 12], 4)], |t| from_patches(&t[0], &[1, 2, 4, 4], (3, 2)));
    }

    #[test]
    fn an_image_below_the_kernels_size_is_refused() {
        let x: Tensor = values(&[1, 2, 2, 5], 1).into();
        assert_eq!(patches(&x, (3, 3)).unwrap_err().code(), "ERR_SHAPE");
        assert_eq!(from_patches(&x, &[1, 2, 5, 5], (3, 3)).unwrap_err().code(), "ERR_SHAPE");
    }
}
