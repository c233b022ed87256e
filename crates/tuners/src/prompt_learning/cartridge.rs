//! Cartridges: a key-value cache as parameters, the first tokens of which stay as they are.
//!
//! Eyuboglu et al. 2025 (arXiv 2506.06266); PEFT's `peft.tuners.cartridge`.

use super::encoder::{EncoderTensor, Held, PromptEncoder};
use super::fields::PromptFields;
use super::place::Place;
use super::size::Size;
use super::PromptLearning;
use crate::fields::Required;
use crate::init::Init;
use swift_tuners_nn::{Array, Context, Error, Model, Param, Result, Tensor};

crate::config! {
    /// `CartridgeConfig`
    pub struct CartridgeConfig {
        standard: [];
        ..prompt: PromptFields;
        /// How many virtual tokens stand before the sequence.
        num_virtual_tokens: Required<usize>;
        /// How many of the first tokens never train.
        num_frozen_tokens: usize = 1;
    }
}

/// The kind of tuner.
pub struct Cartridge;

impl PromptLearning for Cartridge {
    const NAME: &'static str = "CARTRIDGE";
    const CLASS: &'static str = "CartridgeConfig";
    const ABOUT: &'static str = "A key-value cache as parameters, the first tokens of which stay as they are. Eyuboglu et al. 2025 (arXiv 2506.06266).";
    const PLACE: Place = Place::Past;
    type Config = CartridgeConfig;

    fn fields(config: &CartridgeConfig) -> &PromptFields {
        &config.prompt
    }

    fn count(config: &CartridgeConfig) -> usize {
        config.num_virtual_tokens.0
    }

    fn check(c: &CartridgeConfig) -> Result<()> {
        let tokens = c.num_virtual_tokens.0;
        if c.num_frozen_tokens > tokens {
            let why = format!("{} are more than num_virtual_tokens = {tokens}", c.num_frozen_tokens);
            return Err(Error::config("num_frozen_tokens", why));
        }
        Ok(())
    }

    fn encoder(c: &CartridgeConfig, size: &Size, _: &Model, init: &mut Init) -> Result<Box<dyn PromptEncoder>> {
        let all = size.layers * 2 * size.width;
        let mut drawn = |rows: usize| match rows {
            0 => Ok(None),
            rows => init.normal(&[rows, all], 1.).map(Some),
        };
        let (frozen, trainable) = (drawn(c.num_frozen_tokens)?, drawn(size.tokens - c.num_frozen_tokens)?);
        frozen.iter().for_each(|p| p.set_requires_grad(false));
        Ok(Box::new(Cache { frozen, trainable }))
    }
}

/// `[frozen; trainable]`
struct Cache {
    /// `[frozen, layers · 2 · width]`
    frozen: Option<Param>,
    /// `[tokens − frozen, layers · 2 · width]`
    trainable: Option<Param>,
}

impl PromptEncoder for Cache {
    fn tensors(&self) -> Vec<EncoderTensor<'_>> {
        let frozen = self.frozen.iter().map(|p| EncoderTensor::new("frozen_embedding", Held::Frozen, p));
        let trainable = self.trainable.iter().map(|p| EncoderTensor::new("trainable_embedding", Held::Invertible, p));
        frozen.chain(trainable).collect()
    }

    fn tokens(&self, cx: &Context) -> Result<Tensor> {
        let parts = self.frozen.iter().chain(&self.trainable).map(|p| p.value(cx.grad)).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)
    }

    fn inverted(&self, tokens: &Array) -> Result<Option<Vec<Array>>> {
        let mut start = 0;
        let mut part = |p: &Param| {
            let rows = p.shape()[0];
            start += rows;
            Ok(tokens.narrow(0, start - rows, rows)?)
        };
        self.frozen.iter().chain(&self.trainable).map(&mut part).collect::<Result<_>>().map(Some)
    }
}
