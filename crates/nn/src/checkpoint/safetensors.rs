//! safetensors files: a header that is checked whole before any tensor is read, and tensors read one by one.
//!
//! The reader is our own because it must refuse what common readers let pass (duplicate keys, gaps) and never maps the
//! file: a mapping that somebody truncates ends the process. Writing uses the `safetensors` crate.

use super::files::open_regular;
use super::Tensors;
use crate::error::printable;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device, Storage, WithDType};
use indexmap::IndexMap;
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const MAX_HEADER: u64 = 100 << 20;

struct Entry {
    stored: &'static Stored,
    shape: Vec<usize>,
    start: u64,
    bytes: usize,
}

/// A dtype of the format: its size in bytes, and how a span of a file becomes an array.
struct Stored {
    name: &'static str,
    size: usize,
    make: fn(&Source, &Entry) -> Result<Array>,
}

/// Reads at any place, also from several threads at once.
struct Source {
    path: PathBuf,
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: parking_lot::Mutex<File>,
}

impl Source {
    fn new(path: &Path, file: File) -> Self {
        #[cfg(not(unix))]
        let file = parking_lot::Mutex::new(file);
        Self { path: path.to_owned(), file }
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        #[cfg(unix)]
        let done = std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, at);
        #[cfg(not(unix))]
        let done = {
            use std::io::{Seek, SeekFrom};
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
    let mut bytes = vec![0; entry.bytes];
    source.fill(&mut bytes, entry.start)?;
    let values: Vec<i64> = bytes.chunks_exact(N).map(|c| f(c.try_into().expect("chunks have N bytes"))).collect();
    Ok(Array::from_vec(values, entry.shape.as_slice(), &Device::Cpu)?)
}

static STORED: &[Stored] = &[
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
        let header = super::json::parse(&header).map_err(|e| bad(format!("header: {e}")))?;
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

/// A tensor to be written, whose values exist while they are written only.
pub struct Deferred<'a> {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Gives an array of this dtype and shape.
    pub value: Box<dyn Fn() -> Result<Array> + Send + Sync + 'a>,
}

impl Deferred<'_> {
    pub fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.dtype.size_in_bytes()) as u64
    }
}

/// Writes a file and flushes it. The caller stages and renames.
pub fn write(path: &Path, tensors: &[(String, Array)], metadata: &HashMap<String, String>) -> Result<()> {
    let deferred = tensors.iter().map(|(name, array)| Deferred {
        name: name.clone(),
        dtype: array.dtype(),
        shape: array.dims().to_vec(),
        value: Box::new(|| Ok(array.clone())),
    });
    write_deferred(path, &deferred.collect::<Vec<_>>(), metadata)
}

/// The same, tensor by tensor: no two of them are in memory at once.
pub fn write_deferred(path: &Path, tensors: &[Deferred<'_>], metadata: &HashMap<String, String>) -> Result<()> {
    let fault = RefCell::new(None);
    let mut views = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        views.push((tensor.name.clone(), View::new(tensor, &fault)?));
    }
    let failed = |e: ::safetensors::SafeTensorError| match e {
        ::safetensors::SafeTensorError::IoError(source) => Error::io(path, source),
        other => Error::Argument(format!("{}: {other}", path.display())),
    };
    ::safetensors::serialize_to_file(views, Some(metadata.clone()), path).map_err(failed)?;
    if let Some(e) = fault.take() {
        return Err(e);
    }
    let file = File::options().write(true).open(path).map_err(|e| Error::io(path, e))?;
    #[cfg(unix)]
    {
        // The crate creates files that only their owner can read; weights are as public as the folder they are in.
        use std::os::unix::fs::PermissionsExt;
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o666 & !umask()));
    }
    file.sync_all().map_err(|e| Error::io(path, e))
}

#[cfg(unix)]
fn umask() -> u32 {
    // /proc tells the mask without changing it for other threads, as umask(2) would.
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| {
            let line = s.lines().find(|l| l.starts_with("Umask:"))?;
            u32::from_str_radix(line.trim_start_matches("Umask:").trim(), 8).ok()
        })
        .unwrap_or(0o022)
}

/// One tensor of a file that is being written.
struct View<'a> {
    dtype: ::safetensors::Dtype,
    tensor: &'a Deferred<'a>,
    /// The trait cannot fail; what went wrong while the values were made.
    fault: &'a RefCell<Option<Error>>,
}

impl<'a> View<'a> {
    fn new(tensor: &'a Deferred<'_>, fault: &'a RefCell<Option<Error>>) -> Result<Self> {
        use ::safetensors::Dtype;
        let dtype = match tensor.dtype {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
            DType::U32 => Dtype::U32,
            DType::U8 => Dtype::U8,
            other => return Err(Error::Argument(format!("{}: {other:?} cannot be stored", tensor.name))),
        };
        Ok(Self { dtype, tensor, fault })
    }

    fn values(&self) -> Result<Vec<u8>> {
        if self.fault.borrow().is_some() {
            return Ok(vec![0; self.tensor.bytes() as usize]); // the file is lost already
        }
        let array = (self.tensor.value)()?;
        let (dtype, shape) = (self.tensor.dtype, &self.tensor.shape);
        if array.dtype() != dtype || array.dims() != shape {
            let found = format!("{:?} {:?}", array.dtype(), array.dims());
            return Err(Error::Argument(format!(
                "{}: {found} where {dtype:?} {shape:?} was announced",
                self.tensor.name
            )));
        }
        bytes(&array)
    }
}

impl ::safetensors::View for View<'_> {
    fn dtype(&self) -> ::safetensors::Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        let bytes = self.values().unwrap_or_else(|e| {
            *self.fault.borrow_mut() = Some(e);
            vec![0; self.data_len()]
        });
        bytes.into()
    }
    fn data_len(&self) -> usize {
        self.tensor.bytes() as usize
    }
}

/// The values in row-major order, little-endian.
pub(crate) fn bytes(array: &Array) -> Result<Vec<u8>> {
    macro_rules! collect {
        ($t:ty) => {{
            let flat = flat(array)?;
            let (storage, layout) = flat.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else { unreachable!("moved to the CPU by flat()") };
            let all = <$t>::cpu_storage_as_slice(storage)?;
            let values = &all[layout.start_offset()..layout.start_offset() + layout.shape().elem_count()];
            if cfg!(target_endian = "little") {
                // SAFETY: these are plain numbers without padding; as bytes they are valid, and as long as the slice lives.
                unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }.to_vec()
            } else {
                values.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
        }};
    }
    Ok(match array.dtype() {
        DType::F64 => collect!(f64),
        DType::F32 => collect!(f32),
        DType::F16 => collect!(half::f16),
        DType::BF16 => collect!(half::bf16),
        DType::I64 => collect!(i64),
        DType::U32 => collect!(u32),
        DType::U8 => collect!(u8),
        other => return Err(Error::Argument(format!("{other:?} cannot be stored"))),
    })
}

/// Contiguous, on the CPU.
fn flat(array: &Array) -> Result<Array> {
    Ok(array.to_device(&Device::Cpu)?.flatten_all()?.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("[1]", 0, "object"),
        ];
        for (header, size, wanted) in cases {
            let path = file(header, &vec![0; size]);
            let error = SafeTensors::open(&path).err().expect(header);
            assert_eq!(error.code(), "ERR_CHECKPOINT_CORRUPT");
            assert!(error.to_string().contains(wanted), "{error} lacks {wanted}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_written_is_read_back_in_every_dtype() {
        let x = Array::new(&[[1.5f32, -2., 3.], [0.25, 7., -8.]], &Device::Cpu).unwrap();
        let tensors: Vec<(String, Array)> = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64]
            .into_iter()
            .map(|d| (format!("{d:?}"), x.to_dtype(d).unwrap()))
            .collect();
        let path = std::env::temp_dir().join(format!("swift-tuners-st-w-{}", std::process::id()));
        write(&path, &tensors, &super::super::format_pt()).unwrap();
        let back = read(&path).unwrap();
        for (name, array) in &tensors {
            assert_eq!(back[name].dtype(), array.dtype());
            assert_eq!(bytes(&back[name]).unwrap(), bytes(array).unwrap());
        }
        std::fs::remove_file(path).unwrap();
    }
}
