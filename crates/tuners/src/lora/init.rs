//! First values of LoRA's matrices.

use super::loftq::loftq;
use super::{corda, lora_ga};
use super::{LoraFields, PeftLoraConfig, Start};
use crate::init::Init;
use crate::site::Site;
use candle_core::Device;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::linalg::{qr, svd, svd_lowrank};
use swift_tuners_nn::module::WeightKind;
use swift_tuners_nn::{Array, Error, Param, Result};

/// A, B and the bias of B, drawn as PEFT's `update_layer` draws them: the constructors' values first, which most initialisations
/// then replace. PiSSA and OLoRA put what is left of the layer's weight into it.
pub fn matrices(
    c: &LoraFields,
    peft: Option<&PeftLoraConfig>,
    site: &Site,
    r: usize,
    scaling: f64,
    init: &mut Init,
) -> Result<(Param, Param, Option<Param>)> {
    let start = c.init_lora_weights;
    let (shape_a, shape_b) = shapes(site, r);
    if site.kind == WeightKind::Embedding {
        let (a, b) = (shape_a.clone(), shape_b.clone());
        if start == Start::Random {
            let a = init.param(&shape_a, move |g| g.randn(&a))?;
            return Ok((a, init.param(&shape_b, move |g| g.randn(&b))?, None));
        }
        init.discard(|g| Ok((g.randn(&a)?, g.randn(&b)?)))?;
        if start == Start::LoftQ {
            return Err(Error::config("init_lora_weights", format!("loftq: {} is an embedding", site.path)));
        }
        if start == Start::Mica {
            return Ok((init.constant(&shape_a, 0.)?, minor(site, r, &shape_b, init)?, None));
        }
        let a = init.constant(&shape_a, 0.)?;
        return Ok((a, init.param(&shape_b, move |g| g.randn(&b))?, None));
    }
    if start == Start::Random {
        let (a, b) = (shape_a.clone(), shape_b.clone());
        let a = init.param(&shape_a, move |g| Ok(g.layer(&a, false)?.0))?;
        let b = init.param(&shape_b, move |g| Ok(g.layer(&b, false)?.0))?;
        // The constructor's bias: uniform in ±1/√fan_in, the fan being B's.
        let fan: usize = shape_b[1..].iter().product();
        let out = site.outputs;
        let bias = c.lora_bias.then(|| {
            init.param(&[out], move |g| {
                let bound = 1. / (fan as f64).sqrt();
                g.uniform(&[out], -bound, bound)
            })
        });
        return Ok((a, b, bias.transpose()?));
    }
    if start == Start::Eva {
        // A stays as its constructor leaves it until data tells.
        let shape = shape_a.clone();
        let a = init.param(&shape_a, move |g| Ok(g.layer(&shape, false)?.0))?;
        init.discard(|g| g.layer(&shape_b, false))?;
        return Ok((a, init.constant(&shape_b, 0.)?, None));
    }
    init.discard(|g| Ok((g.layer(&shape_a, false)?, g.layer(&shape_b, c.lora_bias)?)))?;
    let bias = c.lora_bias.then(|| init.constant(&[site.outputs], 0.)).transpose()?;
    let (a, b) = match start {
        Start::Default | Start::Random | Start::Eva => {
            let shape = shape_a.clone();
            let a = init.param(&shape_a, move |g| g.kaiming_uniform(&shape, 5f64.sqrt()))?;
            (a, init.constant(&shape_b, 0.)?)
        }
        Start::Gaussian => {
            let shape = shape_a.clone();
            let a = init.param(&shape_a, move |g| g.normal(&shape, 0., 1. / r as f64))?;
            (a, init.constant(&shape_b, 0.)?)
        }
        Start::Orthogonal => {
            if r % 2 == 1 {
                return Err(Error::config("init_lora_weights", format!("orthogonal needs an even r, found {r}")));
            }
            let (inputs, outputs) = (site.inputs, site.outputs);
            let pair = std::sync::Arc::new(std::sync::OnceLock::new());
            let (first, second) = (pair.clone(), pair);
            let a = init.param(&shape_a, move |g| {
                let (a, b) = orthogonal(g, r, inputs, outputs)?;
                let _ = first.set(b);
                Ok(a)
            })?;
            // Drawn with A, which is made first.
            let b = init.param(&shape_b, move |g| match second.get() {
                Some(b) => Ok(b.clone()),
                None => Ok(orthogonal(g, r, inputs, outputs)?.1),
            })?;
            (a, b)
        }
        Start::Mica => (init.constant(&shape_a, 0.)?, minor(site, r, &shape_b, init)?),
        Start::LoraGa if site.measured.gradient.is_none() => {
            let shape = shape_a.clone();
            let a = init.param(&shape_a, move |g| g.kaiming_uniform(&shape, 5f64.sqrt()))?;
            (a, init.constant(&shape_b, 0.)?)
        }
        Start::Pissa | Start::PissaFast(_) | Start::Olora | Start::LoftQ | Start::Corda | Start::LoraGa => {
            let weight = site.matrix()?;
            let mut rounded = None;
            let (a, b) = match start {
                Start::LoftQ => {
                    let config = peft.and_then(|p| p.loftq_config.0.clone()).unwrap_or_default();
                    let (a, b, w) = loftq(&config, site, r)?;
                    rounded = Some(w);
                    (a, b)
                }
                Start::Olora => olora(&weight, r)?,
                Start::Corda => {
                    let config = peft.and_then(|p| p.corda_config.clone()).unwrap_or_default();
                    corda::factors(&config, site, r, scaling)?
                }
                Start::LoraGa => {
                    let config = peft.and_then(|p| p.lora_ga_config.as_ref());
                    lora_ga::factors(config, site, r, scaling, init)?
                        .ok_or_else(|| Error::Invalid(format!("{}: no gradient", site.path)))?
                }
                Start::PissaFast(_) if r > site.outputs.min(site.inputs) => {
                    let most = site.outputs.min(site.inputs);
                    return Err(Error::config(
                        "r",
                        format!("{r} is larger than the {most} singular values of {}", site.path),
                    ));
                }
                Start::PissaFast(iterations) => {
                    let (u, s, vt) = init.draw(|g| svd_lowrank(&weight, r, iterations, g))?;
                    balanced(&u, s, &vt, scaling)?
                }
                _ => pissa(&weight, r, scaling)?,
            };
            let rest = rounded.map_or_else(|| Ok::<_, Error>((&weight - (b.matmul(&a)? * scaling)?)?), Ok)?;
            let stored = site.kind.weight(&rest, &site.shape)?.to_dtype(site.base_dtype)?;
            site.weight().replace(stored.to_device(&site.device)?);
            let param = |x: &Array, shape: &[usize]| -> Result<Param> {
                Ok(Param::new(x.to_dtype(init.dtype)?.to_device(&init.device)?.reshape(shape)?, true))
            };
            (param(&a, &shape_a)?, param(&b, &shape_b)?)
        }
    };
    Ok((a, b, bias))
}

/// Of A and B. A convolution's A reads all channels, B is in groups as the layer is.
fn shapes(site: &Site, r: usize) -> (Vec<usize>, Vec<usize>) {
    match (site.convolution(), site.kernel()) {
        (Some(conv), Some(kernel)) => {
            let ones = vec![1; kernel.len()];
            ([&[r, site.channels()], kernel].concat(), [vec![site.outputs, r / conv.groups], ones].concat())
        }
        _ => (vec![r, site.inputs], vec![site.outputs, r]),
    }
}

/// Random `a [r, in]` and `b [out, r]` with b a = 0: the rows of an orthogonal matrix of r in two halves annihilate each other.
fn orthogonal(g: &mut Generator, r: usize, inputs: usize, outputs: usize) -> Result<(Array, Array)> {
    let cpu = &Device::Cpu;
    let (q, _) = qr(&g.randn(&[r, r])?)?;
    let rows = |first: usize| -> Result<Array> {
        let at: Vec<u32> = (first as u32..r as u32).step_by(2).collect();
        Ok(q.index_select(&Array::from_vec(at, r / 2, cpu)?, 0)?)
    };
    let (odd, even) = (rows(0)?, rows(1)?);
    let a = (g.randn(&[inputs, r / 2])?.matmul(&odd)?.t()?.contiguous()? / 10.)?;
    let b = (g.randn(&[r / 2, outputs])?.t()?.matmul(&even)? / 10.)?;
    Ok((a, b))
}

/// Factors of the r largest singular triplets, divided by the scaling.
fn pissa(weight: &Array, r: usize, scaling: f64) -> Result<(Array, Array)> {
    let (u, s, vt) = svd(weight, r)?;
    balanced(&u, s, &vt, scaling)
}

fn balanced(u: &Array, s: Array, vt: &Array, scaling: f64) -> Result<(Array, Array)> {
    let root = (s / scaling)?.sqrt()?;
    Ok((vt.broadcast_mul(&root.unsqueeze(1)?)?, u.broadcast_mul(&root.unsqueeze(0)?)?))
}

/// The r left singular vectors that belong to the smallest singular values, `[out, r]`.
fn minor(site: &Site, r: usize, shape: &[usize], init: &mut Init) -> Result<Param> {
    let most = site.outputs.min(site.inputs);
    if r > most {
        return Err(Error::config(
            "r",
            format!("mica: {r} is larger than the {most} singular values of {}", site.path),
        ));
    }
    let of = site.clone();
    init.param(shape, move |_| {
        let (u, _, _) = svd(&of.matrix()?, most)?;
        Ok(u.narrow(1, most - r, r)?.contiguous()?)
    })
}

/// The first r columns of Q and rows of R.
fn olora(weight: &Array, r: usize) -> Result<(Array, Array)> {
    let (out, inp) = weight.dims2()?;
    let most = out.min(inp);
    if most < r {
        return Err(Error::config("r", format!("olora: {r} is larger than the weight's {most}")));
    }
    let (q, rr) = qr(weight)?;
    Ok((rr.narrow(0, 0, r)?.contiguous()?, q.narrow(1, 0, r)?.contiguous()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use swift_tuners_nn::init::Rng;

    fn close(a: &Array, b: &Array) {
        let gap = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(gap < 1e-5, "{gap}");
    }

    #[test]
    fn all_singular_triplets_and_all_columns_give_the_weight_back() {
        let w = Rng::new(1).normal_array(&[7, 5], 1., DType::F32, &Device::Cpu).unwrap();
        let (a, b) = pissa(&w, 5, 0.5).unwrap();
        close(&(b.matmul(&a).unwrap() * 0.5).unwrap(), &w);
        let (a, b) = olora(&w, 5).unwrap();
        close(&b.matmul(&a).unwrap(), &w);
    }

    #[test]
    fn orthogonal_starts_at_zero_with_both_factors_random() {
        let (a, b) = orthogonal(&mut Generator::new(1), 4, 5, 7).unwrap();
        close(&b.matmul(&a).unwrap(), &Array::zeros((7, 5), DType::F32, &Device::Cpu).unwrap());
        assert!(b.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.1);
    }
}
