//! Linear algebra that tuners and optimizers share: factorisations of arrays, and operations of the tape.

mod circulant;
mod factor;
mod fold;
mod gram_schmidt;
mod grouped;
mod hadamard;
mod kmeans;
mod kronecker;
mod pair_rotation;
mod reflection;
mod rotation;
mod solve;

pub use circulant::block_circulant;
pub use factor::{pseudo_inverse, qr, svd, svd_lowrank, unique_q};
pub use fold::fold_columns;
pub use gram_schmidt::gram_schmidt;
pub use grouped::grouped_product;
pub use hadamard::hadamard_update;
pub use kmeans::kmeans;
pub use kronecker::kronecker_product;
pub use pair_rotation::rotate_pairs;
pub use reflection::{reflect_all, reflect_each};
pub use rotation::{block_diagonal_product, cayley, cayley_neumann, skew_from_upper};
pub use solve::{eigenvectors, full_v, inverse, quotient};

#[cfg(test)]
mod testing {
    //! What PEFT computes (peft_values.py).

    use crate::ops::testing::assert_close;
    use crate::tensor::{Array, Tensor};
    use candle_core::{DType, Device};
    use serde_json::Value;

    /// A tensor of the fixture, f32.
    pub fn python(name: &str) -> Tensor {
        let all: Value = serde_json::from_str(include_str!("peft_values.json")).unwrap();
        let (shape, values): (Vec<usize>, Vec<f64>) = serde_json::from_value(all[name].clone()).unwrap();
        Array::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap().into()
    }

    pub fn close_to_python(found: &Tensor, name: &str) {
        assert_close(found.data(), python(name).data(), 1e-6);
    }
}
