//! How values lie in a file.

use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{Device, WithDType};
use rayon::prelude::*;
use std::fs::File;
use std::path::{Path, PathBuf};

pub(super) struct Entry {
    pub stored: &'static Stored,
    pub shape: Vec<usize>,
    pub start: u64,
    pub bytes: usize,
}

/// A dtype of the format: its size in bytes, and how a span of a file becomes an array.
pub(super) struct Stored {
    pub name: &'static str,
    pub size: usize,
    pub make: fn(&Source, &Entry) -> Result<Array>,
}

/// Reads at any place, also from several threads at once.
pub(super) struct Source {
    pub path: PathBuf,
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: parking_lot::Mutex<File>,
}

impl Source {
    pub fn new(path: &Path, file: File) -> Self {
        #[cfg(not(unix))]
        let file = parking_lot::Mutex::new(file);
        Self { path: path.to_owned(), file }
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        #[cfg(unix)]
        let done = std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, at);
        #[cfg(not(unix))]
        let done = {
            use std::io::{Read, Seek, SeekFrom};
            let mut file = self.file.lock();
            file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes))
        };
        done.map_err(|e| Error::io(&self.path, e))
    }

    /// `bytes.len()` bytes from `at` on, by pieces in parallel: copying out of the page cache takes a core's whole time.
    fn fill(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        const PIECE: usize = 2 << 20;
        let pieces = bytes.par_chunks_mut(PIECE).enumerate();
        pieces.try_for_each(|(i, piece)| self.read_at(piece, at + (i * PIECE) as u64))
    }
}

/// Values that lie in the file as in memory.
fn raw<T: WithDType + Default>(source: &Source, entry: &Entry) -> Result<Array> {
    crate::memory::require(entry.bytes)?;
    let mut values = vec![T::default(); entry.bytes / size_of::<T>()];
    {
        // SAFETY: the types of the table below are plain numbers, for which all bytes are valid, and `values` is as long as
        // the slice.
        let bytes = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), entry.bytes) };
        source.fill(bytes, entry.start)?;
        if cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
    }
    Ok(Array::from_vec(values, entry.shape.as_slice(), &Device::Cpu)?)
}

fn wide<const N: usize>(source: &Source, entry: &Entry, f: fn([u8; N]) -> i64) -> Result<Array> {
    // The bytes, and the values made of them, which may be wider.
    crate::memory::require(entry.bytes.saturating_mul(3))?;
    let mut bytes = vec![0; entry.bytes];
    source.fill(&mut bytes, entry.start)?;
    let values: Vec<i64> = bytes.chunks_exact(N).map(|c| f(c.try_into().expect("chunks have N bytes"))).collect();
    Ok(Array::from_vec(values, entry.shape.as_slice(), &Device::Cpu)?)
}

pub(super) static STORED: &[Stored] = &[
    Stored { name: "F64", size: 8, make: raw::<f64> },
    Stored { name: "F32", size: 4, make: raw::<f32> },
    Stored { name: "F16", size: 2, make: raw::<half::f16> },
    Stored { name: "BF16", size: 2, make: raw::<half::bf16> },
    Stored { name: "I64", size: 8, make: raw::<i64> },
    Stored { name: "U32", size: 4, make: raw::<u32> },
    Stored { name: "U8", size: 1, make: raw::<u8> },
    Stored { name: "BOOL", size: 1, make: raw::<u8> },
    Stored { name: "I32", size: 4, make: |s, e| wide(s, e, |x| i64::from(i32::from_le_bytes(x))) },
    Stored { name: "I16", size: 2, make: |s, e| wide(s, e, |x| i64::from(i16::from_le_bytes(x))) },
    Stored { name: "U16", size: 2, make: |s, e| wide(s, e, |x| i64::from(u16::from_le_bytes(x))) },
    Stored { name: "I8", size: 1, make: |s, e| wide(s, e, |x| i64::from(i8::from_le_bytes(x))) },
];
