//! Table look-up.

use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

/// Rows `ids` of `table [vocabulary, width]`: `[.., ]` → `[.., width]`.
///
/// Fails with [`Error::Argument`] when an id is not in the table.
pub fn embedding(table: &Tensor, ids: &[i64], shape: &[usize]) -> Result<Tensor> {
    let rows = table.dim(0);
    if let Some(bad) = ids.iter().find(|&&i| i < 0 || i >= rows as i64) {
        return Err(Error::Argument(format!("id {bad} is not in an embedding of {rows} rows")));
    }
    let index = Array::from_vec(ids.iter().map(|&i| i as u32).collect::<Vec<_>>(), ids.len(), table.device())?;
    let mut out = shape.to_vec();
    out.push(table.dim(1));
    table.index_select(&index, 0)?.reshape(out)
}
