//! Tensors from a file of `torch.save`.

use super::items::{Item, Tensor};
use super::pickle::{Machine, Refusal};
use crate::checkpoint::files::open_regular;
use crate::checkpoint::tensors::Tensors;
use crate::error::printable;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::Device;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

const MAX_PICKLE: u64 = 64 << 20;

/// The tensors of a state dict saved by `torch.save`.
///
/// Fails with [`Error::Unsafe`] when the file asks for anything beside tensors, and with [`Error::Corrupt`] when it is not
/// what it claims to be.
pub fn read(path: &Path) -> Result<Tensors> {
    let bad = |message: String| Error::corrupt(path, message);
    let (file, size) = open_regular(path)?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file))
        .map_err(|e| bad(format!("not a PyTorch zip file ({e}); files from before PyTorch 1.6 are not read")))?;
    let pickle =
        archive.file_names().flatten().find(|n| *n == "data.pkl" || n.ends_with("/data.pkl")).map(|n| n.into_owned());
    let pickle = pickle.ok_or_else(|| bad("no data.pkl".into()))?;
    let prefix = pickle.trim_end_matches("data.pkl").to_owned();
    let mut entry = |name: &str, max: u64| -> Result<Vec<u8>> {
        let entry = archive.by_name(name).map_err(|e| bad(format!("{}: {e}", printable(name, 80))))?;
        let length = entry.size();
        if length > max || length > size {
            return Err(bad(format!("{} claims {length} bytes", printable(name, 80))));
        }
        let mut out = Vec::with_capacity(length as usize);
        entry.take(length).read_to_end(&mut out).map_err(|e| bad(format!("{}: {e}", printable(name, 80))))?;
        Ok(out)
    };
    let order = entry(&format!("{prefix}byteorder"), 16);
    if order.is_ok_and(|o| o != b"little") {
        return Err(bad("written on a big-endian machine".into()));
    }
    let code = entry(&pickle, MAX_PICKLE)?;
    let machine = Machine { code: &code, at: 0, stack: Vec::new(), memo: HashMap::new() };
    let root = machine.run().map_err(|r| match r {
        Refusal::Corrupt(message) => bad(message),
        Refusal::Unsafe(message) => Error::Unsafe { path: path.to_owned(), message },
    })?;
    let Item::Dict(dict) = root else {
        return Err(bad("it holds no state dict".into()));
    };
    let mut storages: HashMap<String, Rc<Vec<u8>>> = HashMap::new();
    let mut out = Tensors::new();
    for (key, value) in dict.borrow().iter() {
        let (Item::Text(name), Item::Tensor(t)) = (key, value) else {
            return Err(bad("the state dict holds something other than named tensors".into()));
        };
        let data = match storages.get(&t.storage.key) {
            Some(data) => data.clone(),
            None => {
                let data = Rc::new(entry(&format!("{prefix}data/{}", t.storage.key), size)?);
                storages.insert(t.storage.key.clone(), data.clone());
                data
            }
        };
        let array = build(t, &data).map_err(|e| bad(format!("tensor {}: {e}", printable(name, 120))))?;
        if out.insert(name.to_string(), array).is_some() {
            return Err(bad(format!("tensor {} occurs twice", printable(name, 120))));
        }
    }
    Ok(out)
}

fn build(t: &Tensor, data: &[u8]) -> Result<Array, String> {
    let width = t.storage.dtype.size_in_bytes();
    if t.storage.size.checked_mul(width) != Some(data.len()) {
        return Err(format!("its storage has {} bytes for {} elements", data.len(), t.storage.size));
    }
    let count = t.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= t.storage.size.max(1));
    let count = count.ok_or("its shape is larger than its storage")?;
    let last = t
        .shape
        .iter()
        .zip(&t.stride)
        .try_fold(t.offset, |at, (&n, &s)| n.saturating_sub(1).checked_mul(s).and_then(|d| at.checked_add(d)));
    if count > 0 && last.is_none_or(|l| l >= t.storage.size) {
        return Err("it reaches past its storage".into());
    }
    let mut bytes = Vec::with_capacity(count * width);
    let mut index = vec![0usize; t.shape.len()];
    for _ in 0..count {
        let at = t.offset + index.iter().zip(&t.stride).map(|(&i, &s)| i * s).sum::<usize>();
        bytes.extend_from_slice(&data[at * width..(at + 1) * width]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < t.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Array::from_raw_buffer(&bytes, t.storage.dtype, &t.shape, &Device::Cpu).map_err(|e| e.to_string())
}
