//! Places of a matrix, from integers that may come from a file.

use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device};

/// Entries of a matrix `[rows, columns]`.
#[derive(Clone, Debug)]
pub struct Positions {
    pub(crate) row: Vec<u32>,
    pub(crate) column: Vec<u32>,
    pub rows: usize,
    pub columns: usize,
}

impl Positions {
    /// Of `pairs [2, n]`, rows and columns. Fails with [`Error::Argument`] where one is outside.
    pub fn pairs(pairs: &Array, rows: usize, columns: usize) -> Result<Self> {
        let all = integers(pairs)?;
        let (row, column) = all.split_at(all.len() / 2);
        Ok(Self { row: inside(row, rows)?, column: inside(column, columns)?, rows, columns })
    }

    /// Of positions in the row-major matrix, of any shape. Fails with [`Error::Argument`] where one is outside.
    pub fn flat(flat: &Array, rows: usize, columns: usize) -> Result<Self> {
        let at = inside(&integers(flat)?, rows * columns)?;
        let width = columns.max(1) as u32;
        let (row, column) = at.iter().map(|&at| (at / width, at % width)).unzip();
        Ok(Self { row, column, rows, columns })
    }

    pub fn len(&self) -> usize {
        self.row.len()
    }

    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// The entries in the order of their rows, with where each row starts.
    pub(crate) fn by_row(&self) -> (Vec<u32>, Vec<u32>) {
        sorted(&self.row, self.rows)
    }

    pub(crate) fn by_column(&self) -> (Vec<u32>, Vec<u32>) {
        sorted(&self.column, self.columns)
    }

    /// Positions in the row-major matrix, as an index on a device.
    pub(crate) fn index(&self, device: &Device) -> Result<Array> {
        let width = self.columns as i64;
        let flat: Vec<i64> =
            self.row.iter().zip(&self.column).map(|(&r, &c)| i64::from(r) * width + i64::from(c)).collect();
        Ok(Array::from_vec(flat, self.len(), device)?)
    }
}

fn integers(x: &Array) -> Result<Vec<i64>> {
    Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?)
}

fn inside(values: &[i64], below: usize) -> Result<Vec<u32>> {
    let one = |&v: &i64| match u32::try_from(v) {
        Ok(small) if (small as usize) < below => Ok(small),
        _ => Err(Error::Argument(format!("the index {v} is not in 0..{below}"))),
    };
    values.iter().map(one).collect()
}

/// Numbers of entries ordered by `key`, and where each key's begin.
fn sorted(key: &[u32], keys: usize) -> (Vec<u32>, Vec<u32>) {
    let mut start = vec![0u32; keys + 1];
    key.iter().for_each(|&k| start[k as usize + 1] += 1);
    (0..keys).for_each(|k| start[k + 1] += start[k]);
    let (mut next, mut order) = (start.clone(), vec![0; key.len()]);
    for (i, &k) in key.iter().enumerate() {
        order[next[k as usize] as usize] = i as u32;
        next[k as usize] += 1;
    }
    (order, start)
}
