//! aLoRA: an adapter that acts from the last occurrence of its invocation tokens on, so that what lies before can be cached for all.
//!
//! Greenewald et al. 2025 (arXiv 2504.12397); PEFT's `ALoraLinearVariant`.

use super::PeftLoraConfig;
use crate::method::Attach;
use std::ops::Range;
use swift_tuners_nn::models::is_packed;
use swift_tuners_nn::module::{Args, Ints, Next, Rows, Tuner, Value, Visitor};
use swift_tuners_nn::{AdapterId, Context, Error, Result};

/// Where the offsets are kept among an adapter's taps.
const OFFSETS: usize = 0;

impl PeftLoraConfig {
    /// The tokens, where there are any.
    pub fn invocation(&self) -> Option<Vec<i64>> {
        let tokens = self.alora_invocation_tokens.as_ref().filter(|tokens| !tokens.is_empty())?;
        Some(tokens.iter().map(|&token| token as i64).collect())
    }
}

/// Looks for the invocation in each row and keeps how many positions from the end it begins: 0 where it is missing.
#[derive(Clone)]
struct Invocation {
    ids: Vec<AdapterId>,
    tokens: Vec<Vec<i64>>,
}

/// Puts the search around the model.
pub fn attach(tokens: Vec<i64>, a: &mut Attach<'_>) {
    let root = &mut a.model.root;
    if root.tuner::<Invocation>().is_none() {
        root.tuners.push(Box::new(Invocation { ids: Vec::new(), tokens: Vec::new() }));
    }
    if let Some(search) = root.tuner_mut::<Invocation>() {
        search.ids.push(a.id);
        search.tokens.push(tokens);
    }
}

fn offsets(ids: &Ints, tokens: &[i64]) -> Result<Ints> {
    let &[batch, seq] = &ids.shape[..] else {
        return Err(Error::Argument(format!("inputIds: expected [batch, seq], found {:?}", ids.shape)));
    };
    let last = |row: &[i64]| row.windows(tokens.len()).rposition(|w| w == tokens).map_or(0, |at| (seq - at) as i64);
    Ints::new(vec![batch], ids.data.chunks(seq.max(1)).map(last).collect())
}

impl Tuner for Invocation {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        for (&id, tokens) in self.ids.iter().zip(&self.tokens).filter(|(id, _)| cx.is_active(**id)) {
            // What a decoding began with says which rows are adapted, as in PEFT's `generate`.
            let first = cx.cache.as_ref().filter(|_| cx.decoding).and_then(|cache| cache.tap(id, OFFSETS));
            let found = match (first, args.ints("input_ids")) {
                (Some(first), _) => first,
                (None, Some(_)) if is_packed(&args) => {
                    let why =
                        "positionIds: aLoRA looks for one invocation per row, and here are several sequences in one";
                    return Err(Error::Argument(why.into()));
                }
                (None, Some(ids)) => Value::Ints(offsets(ids, tokens)?),
                (None, None) => continue,
            };
            if let Some(cache) = cx.cache.as_ref().filter(|_| !cx.decoding) {
                cache.put_tap(id, OFFSETS, found.clone());
            }
            cx.put_tap(id, OFFSETS, found);
        }
        next.run(cx, args)
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn rows(&self, _: &Context) -> Result<Rows> {
        Ok(Rows::Together)
    }

    fn visit<'a>(&'a self, _: &mut dyn Visitor<'a>) {}

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.tokens.remove(at);
        }
        self.ids.is_empty()
    }

    fn unloads(&self) -> bool {
        true
    }
}

/// The rows of `x [batch, seq, ..]`, all dimensions but the last taken together, that the adapter acts on: of each row of the
/// batch the last positions, as many as were found. Where no tokens were looked at (embeddings were given) there are none.
pub fn adapted(cx: &Context, id: AdapterId, dims: &[usize]) -> Result<Vec<Range<usize>>> {
    let Some(Value::Ints(found)) = cx.tap(id, OFFSETS) else { return Ok(Vec::new()) };
    let (batch, seq) = match dims {
        [batch, seq, _] => (*batch, *seq),
        _ => (dims[0], 1),
    };
    let rows = cx.run.clone().unwrap_or(0..found.data.len());
    let found = found.data.get(rows).filter(|found| found.len() == batch).ok_or_else(|| {
        Error::Argument(format!("aLoRA: a layer is called with {batch} rows, which are not those of the tokens"))
    })?;
    let all = found
        .iter()
        .enumerate()
        .map(|(row, &n)| ((row + 1) * seq).saturating_sub((n.max(0) as usize).min(seq))..(row + 1) * seq);
    Ok(all.filter(|r| !r.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_occurrence_counts_from_the_end() {
        let ids = Ints::new(vec![3, 5], vec![4, 1, 2, 1, 2, 1, 2, 3, 3, 3, 1, 1, 1, 1, 1]).unwrap();
        assert_eq!(offsets(&ids, &[1, 2]).unwrap().data.as_slice(), [2, 5, 0]);
        assert_eq!(offsets(&ids, &[1; 6]).unwrap().data.as_slice(), [0, 0, 0]);
    }
}
