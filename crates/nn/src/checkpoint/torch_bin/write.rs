//! A file that `torch.load` reads.

use crate::checkpoint::bytes::bytes;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::DType;
use std::io::Write;
use std::path::Path;

/// Writes a state dict that `torch.load(weights_only=True)` reads.
pub fn write(path: &Path, tensors: &[(String, Array)]) -> Result<()> {
    let mut code: Vec<u8> = vec![0x80, 2];
    code.extend(b"ccollections\nOrderedDict\n)R(");
    let text = |code: &mut Vec<u8>, s: &str| {
        code.push(b'X');
        code.extend((s.len() as u32).to_le_bytes());
        code.extend(s.as_bytes());
    };
    let int = |code: &mut Vec<u8>, n: usize| {
        // LONG1 with eight bytes holds any size.
        code.extend([0x8a, 8]);
        code.extend((n as i64).to_le_bytes());
    };
    let mut data = Vec::new();
    for (i, (name, array)) in tensors.iter().enumerate() {
        let kind = match array.dtype() {
            DType::F32 => "FloatStorage",
            DType::F64 => "DoubleStorage",
            DType::F16 => "HalfStorage",
            DType::BF16 => "BFloat16Storage",
            DType::I64 => "LongStorage",
            DType::I32 => "IntStorage",
            DType::I16 => "ShortStorage",
            DType::U8 => "ByteStorage",
            other => return Err(Error::Argument(format!("{name}: {other:?} cannot be stored in a .bin"))),
        };
        text(&mut code, name);
        code.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut code, "storage");
        code.extend(format!("ctorch\n{kind}\n").as_bytes());
        text(&mut code, &i.to_string());
        text(&mut code, "cpu");
        int(&mut code, array.elem_count());
        code.extend(b"tQK\x00(");
        array.dims().iter().for_each(|&d| int(&mut code, d));
        code.extend(b"t(");
        let mut strides = vec![1; array.rank()];
        for axis in (1..array.rank()).rev() {
            strides[axis - 1] = strides[axis] * array.dims()[axis].max(1);
        }
        strides.iter().for_each(|&s| int(&mut code, s));
        code.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
        data.push(bytes(array)?);
    }
    code.extend(b"u.");
    let file = std::fs::File::create_new(path).map_err(|e| Error::io(path, e))?;
    let mut zip = zip::ZipWriter::new(std::io::BufWriter::new(file));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    let failed = |e: zip::result::ZipError| Error::io(path, std::io::Error::other(e.to_string()));
    let mut put = |name: &str, bytes: &[u8]| -> Result<()> {
        zip.start_file(format!("archive/{name}"), options).map_err(failed)?;
        zip.write_all(bytes).map_err(|e| Error::io(path, e))
    };
    put("data.pkl", &code)?;
    put("byteorder", b"little")?;
    for (i, bytes) in data.iter().enumerate() {
        put(&format!("data/{i}"), bytes)?;
    }
    put("version", b"3\n")?;
    let file = zip.finish().map_err(failed)?.into_inner().map_err(|e| Error::io(path, e.into_error()))?;
    file.sync_all().map_err(|e| Error::io(path, e))
}
