//! Strided matrices, as products take them.

/// A strided matrix inside a slice that the caller has checked.
#[derive(Clone, Copy)]
pub(crate) struct Mat<P> {
    pub ptr: P,
    pub row: isize,
    pub col: isize,
}

impl<P> Mat<P> {
    /// The transposed view.
    pub fn t(self) -> Self {
        Mat { ptr: self.ptr, row: self.col, col: self.row }
    }
}

/// Row-major view.
pub(crate) fn mat<T>(x: &[T], cols: usize) -> Mat<*const T> {
    Mat { ptr: x.as_ptr(), row: cols as isize, col: 1 }
}

pub(crate) fn mat_mut<T>(x: &mut [T], cols: usize) -> Mat<*mut T> {
    Mat { ptr: x.as_mut_ptr(), row: cols as isize, col: 1 }
}
