//! The low-rank space of a group: its rank, its sides and how its basis is kept.

use swift_tuners_nn::{Error, Result};

/// Which singular vectors span the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjType {
    /// The right ones of a tall matrix, the left ones of a wide one: the smaller low-rank gradient.
    Std,
    ReverseStd,
    Right,
    Left,
    Full,
}

impl ProjType {
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "std" => Self::Std,
            "reverse_std" => Self::ReverseStd,
            "right" => Self::Right,
            "left" => Self::Left,
            "full" => Self::Full,
            other => {
                return Err(Error::config(
                    "projType",
                    format!(
                        "expected std, reverse_std, right, left or full, found {:?}",
                        swift_tuners_nn::error::printable(other, 40)
                    ),
                ))
            }
        })
    }

    /// Whether left and right vectors are used for a matrix of this shape.
    pub(crate) fn sides(self, rows: usize, cols: usize) -> (bool, bool) {
        let tall = rows >= cols;
        match self {
            Self::Std => (!tall, tall),
            Self::ReverseStd => (tall, !tall),
            Self::Right => (false, true),
            Self::Left => (true, false),
            Self::Full => (true, true),
        }
    }
}

/// Q-GaLore's handling of the basis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantisation {
    pub bits: u32,
    /// Values that share a scale; 0: a row of the basis.
    pub group_size: usize,
    /// Refreshes get rarer while the basis turns no further than this cosine.
    pub cos_threshold: f64,
    pub gamma: f64,
    pub queue_size: usize,
}

/// `q_galore_torch`'s defaults.
pub const DEFAULT_QUANTISATION: Quantisation =
    Quantisation { bits: 4, group_size: 256, cos_threshold: 0.4, gamma: 2., queue_size: 5 };

/// A group's low-rank space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projection {
    pub rank: usize,
    /// Steps between new bases.
    pub update_proj_gap: u64,
    pub scale: f64,
    pub proj_type: ProjType,
    pub quantisation: Option<Quantisation>,
}

impl Projection {
    pub fn check(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::config("rank", "expected a positive integer"));
        }
        if self.update_proj_gap == 0 {
            return Err(Error::config("updateProjGap", "expected a positive integer"));
        }
        if !self.scale.is_finite() {
            return Err(Error::config("scale", "expected a number"));
        }
        if let Some(q) = &self.quantisation {
            if self.proj_type != ProjType::Std {
                return Err(Error::config("projType", "Q-GaLore knows std only"));
            }
            if !(1..=8).contains(&q.bits) || q.queue_size == 0 || q.gamma.is_nan() || q.gamma < 1. {
                return Err(Error::config("projBits, queueSize, gammaProj", "out of range"));
            }
        }
        Ok(())
    }

    /// The rank that a matrix of this shape can have.
    pub(crate) fn rank_of(&self, shape: &[usize]) -> usize {
        self.rank.min(shape[0]).min(shape[1])
    }

    /// The shape of a projected gradient.
    pub fn low_shape(&self, shape: &[usize]) -> Vec<usize> {
        let &[rows, cols] = shape else { return shape.to_vec() };
        let rank = self.rank_of(shape);
        let (left, right) = self.proj_type.sides(rows, cols);
        vec![if left { rank } else { rows }, if right { rank } else { cols }]
    }
}
