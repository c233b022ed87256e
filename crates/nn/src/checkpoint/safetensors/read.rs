//! Reading: a header that is checked whole, and tensors one by one.

use super::stored::{Entry, Source, STORED};
use crate::checkpoint::files::open_regular;
use crate::checkpoint::json;
use crate::checkpoint::tensors::Tensors;
use crate::error::printable;
use crate::tensor::Array;
use crate::{Error, Result};
use indexmap::IndexMap;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

const MAX_HEADER: u64 = 100 << 20;

/// An open file whose header has been checked.
pub struct SafeTensors {
    source: Source,
    entries: IndexMap<String, Entry>,
    pub metadata: HashMap<String, String>,
}

impl SafeTensors {
    pub fn open(path: &Path) -> Result<Self> {
        let bad = |message: String| Error::corrupt(path, message);
        let (mut file, size) = open_regular(path)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| bad("shorter than a safetensors header".into()))?;
        if &length == b"version " {
            return Err(bad("a Git LFS pointer and not the file itself; run git lfs pull".into()));
        }
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length > size.saturating_sub(8) {
            return Err(bad(format!("the header claims {length} bytes in a file of {size}")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(|e| Error::io(path, e))?;
        // The format says so; JSON's own readers take a byte order mark or spaces.
        if header.first() != Some(&b'{') {
            return Err(bad("the header does not begin with {".into()));
        }
        let header = json::parse(&header).map_err(|e| bad(format!("header: {e}")))?;
        let Some(header) = header.as_object() else {
            return Err(bad("the header is no JSON object".into()));
        };
        let (data_start, data_size) = (8 + length, size - 8 - length);
        let mut metadata = HashMap::new();
        let mut entries = IndexMap::new();
        for (name, value) in header {
            if name == "__metadata__" {
                let Some(map) = value.as_object() else {
                    return Err(bad("__metadata__ is no object".into()));
                };
                for (k, v) in map {
                    let Some(v) = v.as_str() else {
                        return Err(bad("__metadata__ holds something other than text".into()));
                    };
                    metadata.insert(k.clone(), v.to_owned());
                }
                continue;
            }
            let shown = printable(name, 120);
            let entry = Self::entry(value, data_start, data_size).map_err(|e| bad(format!("tensor {shown}: {e}")))?;
            entries.insert(name.clone(), entry);
        }
        let mut spans: Vec<(u64, u64)> =
            entries.values().map(|e: &Entry| (e.start, e.start + e.bytes as u64)).collect();
        spans.sort_unstable();
        let mut end = data_start;
        for (start, stop) in spans {
            if start != end {
                return Err(bad("tensors overlap or leave a gap".into()));
            }
            end = stop;
        }
        if end != size {
            return Err(bad(format!("{} bytes behind the last tensor", size - end)));
        }
        Ok(Self { source: Source::new(path, file), entries, metadata })
    }

    fn entry(value: &serde_json::Value, data_start: u64, data_size: u64) -> Result<Entry, String> {
        let dtype = value.get("dtype").and_then(|d| d.as_str()).ok_or("no dtype")?;
        let stored = STORED
            .iter()
            .find(|s| s.name == dtype)
            .ok_or_else(|| format!("dtype {:?} is not supported", printable(dtype, 40)))?;
        let list = |name: &str| -> Result<Vec<u64>, String> {
            let items = value.get(name).and_then(|s| s.as_array()).ok_or(format!("no {name}"))?;
            items.iter().map(|n| n.as_u64().ok_or(format!("{name} holds {}", printable(&n.to_string(), 40)))).collect()
        };
        let shape = list("shape")?;
        if shape.len() > 16 {
            return Err(format!("{} dimensions", shape.len()));
        }
        let &[begin, end] = &list("data_offsets")?[..] else {
            return Err("data_offsets needs two numbers".into());
        };
        if begin > end || end > data_size {
            return Err(format!("offsets {begin}..{end} are outside the {data_size} bytes of data"));
        }
        let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        if count.and_then(|n| n.checked_mul(stored.size as u64)) != Some(end - begin) {
            return Err(format!("shape {shape:?} of {dtype} does not fill its {} bytes", end - begin));
        }
        Ok(Entry {
            stored,
            shape: shape.into_iter().map(|d| d as usize).collect(),
            start: data_start + begin,
            bytes: (end - begin) as usize,
        })
    }

    pub fn path(&self) -> &Path {
        &self.source.path
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.entries.get(name).map(|e| e.shape.clone())
    }

    /// Reads one tensor. 8-, 16- and 32-bit signed integers widen to i64.
    pub fn read(&self, name: &str) -> Result<Array> {
        let Some(e) = self.entries.get(name) else {
            return Err(Error::corrupt(self.path(), format!("no tensor {}", printable(name, 120))));
        };
        (e.stored.make)(&self.source, e)
    }
}

/// All tensors of a file.
pub fn read(path: &Path) -> Result<Tensors> {
    let file = SafeTensors::open(path)?;
    file.names().map(|n| Ok((n.clone(), file.read(n)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(header: &str, data: &[u8]) -> PathBuf {
        static N: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("swift-tuners-st-{}-{n}", std::process::id()));
        let mut all = (header.len() as u64).to_le_bytes().to_vec();
        all.extend(header.as_bytes());
        all.extend(data);
        std::fs::write(&path, all).unwrap();
        path
    }

    #[test]
    fn malformed_headers_are_errors_that_name_the_tensor() {
        let cases = [
            (r#"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "tensor t"),
            (r#"{"t":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}"#, 4, "tensor t"),
            (r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "tensor t"),
            (r#"{"t":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}"#, 4, "dtype"),
            (r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8, "behind"),
            (r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "gap"),
            (
                r#"{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
                0,
                "duplicate",
            ),
            ("[1]", 0, "begin with {"),
        ];
        for (header, size, wanted) in cases {
            let path = file(header, &vec![0; size]);
            let error = SafeTensors::open(&path).err().expect(header);
            assert_eq!(error.code(), "ERR_CHECKPOINT_CORRUPT");
            assert!(error.to_string().contains(wanted), "{error} lacks {wanted}");
            std::fs::remove_file(path).unwrap();
        }
    }
}
