//! Convolutions that keep the size of an image.

use crate::ops::Conv2dShape;

pub(super) const SAME: Conv2dShape = Conv2dShape { stride: 1, padding: 1, dilation: 1, groups: 1 };
pub(super) const POINT: Conv2dShape = Conv2dShape { stride: 1, padding: 0, dilation: 1, groups: 1 };
