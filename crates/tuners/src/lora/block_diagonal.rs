//! BD-LoRA: a block-diagonal factor, so that shards of a model need not exchange what it computes.
//!
//! Konopik et al. 2025 (arXiv 2510.23346); PEFT's `BdLoraLinearVariant`.

use crate::init::Init;
use crate::site::Site;
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::object! {
    /// Which layers have a block-diagonal factor.
    pub struct BdLoraConfig {
        /// Parts of the names of layers whose A is block diagonal.
        target_modules_bd_a: Option<Vec<String>> = None;
        /// Parts of the names of layers whose B is block diagonal.
        target_modules_bd_b: Option<Vec<String>> = None;
        /// Number of blocks.
        nblocks: usize = 1, in 1..;
        /// Whether every adapted layer must be among them.
        match_strict: bool = true;
    }
    check check;
}

fn check(name: &str, c: &BdLoraConfig) -> Result<()> {
    let (a, b) = (names(&c.target_modules_bd_a), names(&c.target_modules_bd_b));
    match a.iter().find(|n| b.contains(n)) {
        Some(both) => Err(Error::config(name, format!("{both:?} is in both lists"))),
        None => Ok(()),
    }
}

fn names(list: &Option<Vec<String>>) -> &[String] {
    list.as_deref().unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    A,
    B,
}

/// Which factor of a layer is block diagonal, and in how many blocks; the blocks stand one below the other.
#[derive(Clone, Copy)]
pub struct Blocks {
    pub factor: Factor,
    pub count: usize,
}

impl Blocks {
    /// For one layer; nothing where both factors are whole.
    pub fn of(c: &BdLoraConfig, site: &Site, r: usize) -> Result<Option<Self>> {
        let within = |list: &Option<Vec<String>>| names(list).iter().any(|n| site.path.contains(n.as_str()));
        let (in_a, in_b) = (within(&c.target_modules_bd_a), within(&c.target_modules_bd_b));
        let fail = |why: String| Err(Error::config("use_bdlora", format!("{}: {why}", site.path)));
        let (factor, sizes) = match (in_a, in_b) {
            (true, true) => return fail("is named for both factors".into()),
            (false, false) if c.match_strict => return fail("is named for neither factor".into()),
            (false, false) => return Ok(None),
            (true, false) => (Factor::A, [site.inputs, r]),
            (false, true) => (Factor::B, [r, site.outputs]),
        };
        if sizes.iter().any(|size| size % c.nblocks != 0) {
            return fail(format!("{} blocks do not divide {} and {}", c.nblocks, sizes[0], sizes[1]));
        }
        Ok(Some(Self { factor, count: c.nblocks }))
    }

    /// The factor as its constructor leaves it, in place of the whole one.
    pub fn first(self, site: &Site, r: usize, init: &mut Init) -> Result<Param> {
        match self.factor {
            Factor::A => {
                let shape = [r, site.inputs / self.count];
                init.param(&shape, move |g| g.kaiming_uniform(&shape, 0.))
            }
            Factor::B => init.constant(&[site.outputs, r / self.count], 0.),
        }
    }

    /// `[rows, columns / count]` → the block-diagonal matrix `[rows, columns]`.
    pub fn expanded(self, stacked: &Tensor) -> Result<Tensor> {
        let (rows, width) = (stacked.dim(0), stacked.last_dim());
        let columns = width * self.count;
        let inside = |i: usize| (i / columns) * self.count / rows == (i % columns) / width;
        let mask: Vec<f32> = (0..rows * columns).map(|i| f32::from(u8::from(inside(i)))).collect();
        let mask = Array::from_vec(mask, (rows, columns), &candle_core::Device::Cpu)?;
        let mask = mask.to_dtype(stacked.dtype())?.to_device(stacked.device())?;
        Tensor::cat(&vec![stacked; self.count], 1)?.mul(&mask.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn blocks_stand_on_the_diagonal() {
        let stacked = Array::arange(1f32, 9., &Device::Cpu).unwrap().reshape((4, 2)).unwrap();
        let whole = Blocks { factor: Factor::A, count: 2 }.expanded(&stacked.into()).unwrap();
        let expected = [[1f32, 2., 0., 0.], [3., 4., 0., 0.], [0., 0., 5., 6.], [0., 0., 7., 8.]];
        assert_eq!(whole.data().to_vec2::<f32>().unwrap(), expected.map(|row| row.to_vec()));
    }
}
