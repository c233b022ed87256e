//! What adapters of one model must have in common where they share random projections.

use crate::fields::Fields;
use crate::method::Attach;
use swift_tuners_nn::{Error, Result};

/// Fails where another adapter of this kind has another seed, or is saved with its projections where this one is not. `of` gives both.
pub fn check_same<C: Fields + Clone>(a: &Attach<'_>, config: &C, of: fn(&C) -> (u64, bool)) -> Result<()> {
    let key = of(config).0;
    for other in others::<C>(a) {
        let other = of(&other?).0;
        if other != key {
            return Err(Error::config("projection_prng_key", format!("{key} differs from {other} of another adapter")));
        }
    }
    check_saved(a, config, |c| of(c).1)
}

/// Fails where another adapter of this kind is saved with its projections and this one is not, or the other way round.
pub fn check_saved<C: Fields + Clone>(a: &Attach<'_>, config: &C, saved: impl Fn(&C) -> bool) -> Result<()> {
    for other in others::<C>(a) {
        if saved(&other?) != saved(config) {
            return Err(Error::config("save_projection", "must be the same for all adapters of a model"));
        }
    }
    Ok(())
}

fn others<'a, C: Fields + Clone>(a: &'a Attach<'_>) -> impl Iterator<Item = Result<C>> + 'a {
    a.others.iter().filter(|o| o.kind == a.config.kind).map(|o| C::of(o))
}
