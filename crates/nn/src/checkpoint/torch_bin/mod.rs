//! PyTorch's `.bin` files of plain state dicts: a reader that can build tensors and nothing else, and a writer.
//!
//! The file is a zip archive whose `data.pkl` is a pickle program. The reader understands the instructions that
//! `torch.save(state_dict)` emits and four names; any other name is refused, and nothing is ever called.

mod items;
mod pickle;
mod read;
mod write;

pub use read::read;
pub use write::write;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Array;
    use candle_core::{DType, Device};
    use std::io::Write;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("swift-tuners-bin-{}-{name}", std::process::id()))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let x = Array::new(&[[1.5f32, -2., 3.], [0.25, 7., -8.]], &Device::Cpu).unwrap();
        let tensors = vec![("a.weight".to_owned(), x.clone()), ("b".to_owned(), x.to_dtype(DType::BF16).unwrap())];
        let path = path("ok");
        write(&path, &tensors).unwrap();
        let back = read(&path).unwrap();
        assert_eq!(back["a.weight"].to_vec2::<f32>().unwrap(), x.to_vec2::<f32>().unwrap());
        assert_eq!(back["b"].dtype(), DType::BF16);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_pickle_that_names_a_function_is_unsafe() {
        let path = path("evil");
        let file = std::fs::File::create(&path).unwrap();
        let mut zip = zip::ZipWriter::new(file);
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("archive/data.pkl", options).unwrap();
        zip.write_all(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.").unwrap();
        zip.finish().unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.code(), "ERR_UNSAFE_FILE");
        assert!(error.to_string().contains("posix.system"), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}
