//! Writing, also of values that are made one at a time.

use crate::checkpoint::bytes::bytes;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::DType;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

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
            DType::I32 => Dtype::I32,
            DType::I16 => Dtype::I16,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::format_pt;
    use crate::checkpoint::safetensors::read;
    use candle_core::Device;

    #[test]
    fn what_is_written_is_read_back_in_every_dtype() {
        let x = Array::new(&[[1.5f32, -2., 3.], [0.25, 7., -8.]], &Device::Cpu).unwrap();
        let tensors: Vec<(String, Array)> = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64]
            .into_iter()
            .map(|d| (format!("{d:?}"), x.to_dtype(d).unwrap()))
            .collect();
        let path = std::env::temp_dir().join(format!("swift-tuners-st-w-{}", std::process::id()));
        write(&path, &tensors, &format_pt()).unwrap();
        let back = read(&path).unwrap();
        for (name, array) in &tensors {
            assert_eq!(back[name].dtype(), array.dtype());
            assert_eq!(bytes(&back[name]).unwrap(), bytes(array).unwrap());
        }
        std::fs::remove_file(path).unwrap();
    }
}
