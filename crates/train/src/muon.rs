//! Muon: momentum whose matrix is made nearly orthogonal before it is applied.
//!
//! Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; numbers as `torch.optim.Muon`, whose
//! Newton-Schulz iteration runs in bfloat16.

use crate::algorithm::{Algorithm, Settings, State};
use crate::range::range;
use candle_core::DType;
use swift_tuners_nn::{Array, Error, Param, Result};

/// How the learning rate follows a matrix's shape `[rows, cols]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdjustLr {
    /// `sqrt(max(1, rows / cols))`
    Original,
    /// `0.2 · sqrt(max(rows, cols))`: updates as large as AdamW's.
    MatchRmsAdamW,
    /// `sqrt(rows / cols)`
    SpectralUnclamped,
}

impl AdjustLr {
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "original" => Self::Original,
            "match_rms_adamw" => Self::MatchRmsAdamW,
            "spectral_unclamped" => Self::SpectralUnclamped,
            other => {
                let shown = swift_tuners_nn::error::printable(other, 40);
                return Err(Error::config(
                    "adjustLrFn",
                    format!("expected original, match_rms_adamw or spectral_unclamped, found {shown:?}"),
                ));
            }
        })
    }

    fn factor(self, rows: usize, cols: usize) -> f64 {
        let ratio = rows as f64 / cols as f64;
        match self {
            Self::Original => ratio.max(1.).sqrt(),
            Self::MatchRmsAdamW => 0.2 * (rows.max(cols) as f64).sqrt(),
            Self::SpectralUnclamped => ratio.sqrt(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Muon {
    pub momentum: f64,
    pub nesterov: bool,
    pub ns_coefficients: (f64, f64, f64),
    pub eps: f64,
    pub ns_steps: usize,
    pub adjust: AdjustLr,
}

impl Muon {
    pub fn check(self) -> Result<Self> {
        range("momentum", (0. ..1.).contains(&self.momentum), self.momentum)?;
        range("eps", self.eps >= 0. && self.eps.is_finite(), self.eps)?;
        range("nsSteps", (1..100).contains(&self.ns_steps), self.ns_steps as f64)?;
        Ok(self)
    }

    /// The orthogonal factor of `g`, roughly: its singular values come out between about 0.5 and 1.5.
    fn orthogonalised(&self, g: &Array) -> Result<Array> {
        let (a, b, c) = self.ns_coefficients;
        // Each result is rounded to bfloat16, as PyTorch's kernels round what they compute in f32.
        let round = |x: Array| -> Result<Array> { Ok(x.to_dtype(DType::BF16)?.to_dtype(DType::F32)?) };
        let tall = g.dims()[0] > g.dims()[1];
        let mut x = round(if tall { g.t()?.contiguous()? } else { g.clone() })?;
        let norm =
            f64::from(x.sqr()?.sum_all()?.sqrt()?.to_dtype(DType::BF16)?.to_dtype(DType::F32)?.to_scalar::<f32>()?);
        x = round((x / norm.max(self.eps))?)?;
        for _ in 0..self.ns_steps {
            let gram = round(x.matmul(&x.t()?)?)?;
            let update = round(((&gram * b)? + (gram.matmul(&gram)? * c)?)?)?;
            x = round(((&x * a)? + update.matmul(&x)?)?)?;
        }
        Ok(if tall { x.t()?.contiguous()? } else { x })
    }
}

impl Algorithm for Muon {
    fn keys(&self) -> &'static [&'static str] {
        &["momentum_buffer"]
    }

    fn check_param(&self, name: &str, param: &Param) -> Result<()> {
        if param.shape().len() != 2 {
            return Err(Error::config(
                "params",
                format!("Muon updates matrices only; {name} has shape {:?}: give it to AdamW", param.shape()),
            ));
        }
        Ok(())
    }

    fn shape(&self, _: &str, param: &[usize], _: &Settings<'_>) -> Option<Vec<usize>> {
        Some(param.to_vec())
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let towards = |from: &Array, to: &Array, share: f64| -> Result<Array> { Ok((from + ((to - from)? * share)?)?) };
        let buffer = towards(&state.moment("momentum_buffer", g)?, g, 1. - self.momentum)?;
        let momentum = if self.nesterov { towards(g, &buffer, self.momentum)? } else { buffer.clone() };
        state.put("momentum_buffer", buffer);
        let update = self.orthogonalised(&momentum.to_dtype(DType::F32)?)?.to_dtype(p.dtype())?;
        let lr = settings.lr * self.adjust.factor(p.dims()[0], p.dims()[1]);
        Ok(((p * (1. - settings.lr * settings.weight_decay))? - (update * lr)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Group, Optimizer};
    use crate::testing::{assert_close, restores_exactly};
    use candle_core::Device;

    const MUON: Muon = Muon {
        momentum: 0.95,
        nesterov: true,
        ns_coefficients: (3.4445, -4.7750, 2.0315),
        eps: 1e-7,
        ns_steps: 5,
        adjust: AdjustLr::Original,
    };

    fn wave(rows: usize, cols: usize, phase: f32) -> Array {
        let v: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.7 + phase).sin()).collect();
        Array::from_vec(v, (rows, cols), &Device::Cpu).unwrap()
    }

    /// Two steps of `torch.optim.Muon` (torch 2.15) on sin(0.7 i) of shape [4, 3], gradients sin(0.7 i + 1), sin(0.7 i + 2).
    #[test]
    fn two_steps_equal_torch() {
        for (adjust, expected) in [(AdjustLr::Original, ORIGINAL), (AdjustLr::MatchRmsAdamW, MATCHED)] {
            let p = Param::new(wave(4, 3, 0.), true);
            let group = Group { params: vec![("p".into(), p.clone())], ..Group::default() };
            let mut o = Optimizer::new(vec![group], 0.1, 0.1, Muon { adjust, ..MUON }).unwrap();
            for phase in [1., 2.] {
                p.set_grad(Some(wave(4, 3, phase)));
                o.step(1.).unwrap();
            }
            let got: Vec<f32> = p.array().unwrap().flatten_all().unwrap().to_vec1().unwrap();
            // A unit in the last place of bfloat16 is 0.4 %, times the learning rate.
            assert_close(&got, &expected, 2e-3);
        }
    }

    const ORIGINAL: [f32; 12] = [
        -0.107624, 0.597151, 0.926381, 0.833233, 0.398355, -0.209668, -0.748482, -0.976406, -0.729677, -0.043888,
        0.537615, 0.978925,
    ];
    const MATCHED: [f32; 12] = [
        -0.037282, 0.619534, 0.952170, 0.841598, 0.352582, -0.297337, -0.817598, -0.967580, -0.657147, -0.004433,
        0.607090, 0.972114,
    ];

    #[test]
    fn updates_are_nearly_orthogonal() {
        let x = MUON.orthogonalised(&wave(6, 9, 0.3)).unwrap();
        let rows = x.sqr().unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
        assert!(rows.iter().all(|r| *r < 2.), "{rows:?}");
    }

    #[test]
    fn vectors_are_refused() {
        let p = Param::new(Array::new(&[1f32, 2.], &Device::Cpu).unwrap(), true);
        let group = Group { params: vec![("norm.weight".into(), p)], ..Group::default() };
        let error = Optimizer::new(vec![group], 0.1, 0., MUON).err().unwrap();
        assert_eq!(error.code(), "ERR_INVALID_CONFIG");
        assert!(error.to_string().contains("norm.weight"));
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        restores_exactly(&[5, 3], Group::default, || Box::new(|g| Optimizer::new(g, 0.1, 0.01, MUON).unwrap()));
    }
}
