//! PyTorch's `.bin` files of plain state dicts: a reader that can build tensors and nothing else, and a writer.
//!
//! The file is a zip archive whose `data.pkl` is a pickle program. The reader understands the instructions that
//! `torch.save(state_dict)` emits and four names; any other name is refused, and nothing is ever called.

use super::files::open_regular;
use super::Tensors;
use crate::error::printable;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::rc::Rc;

const MAX_PICKLE: u64 = 64 << 20;
/// Deeper nesting than any state dict has; values are dropped recursively.
const MAX_DEPTH: usize = 32;

#[derive(Clone)]
enum Item {
    None,
    Bool,
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<Vec<Item>>, usize),
    /// A dict or list under construction, shared with the memo.
    Dict(Rc<std::cell::RefCell<Vec<(Item, Item)>>>),
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
    /// Something allowed in a file but of no meaning for its tensors.
    Other,
    Mark,
}

#[derive(Clone, Copy, PartialEq)]
enum Global {
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    StorageType(DType, usize),
}

struct Storage {
    key: String,
    dtype: DType,
    size: usize,
}

struct Tensor {
    storage: Rc<Storage>,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch", "FloatStorage") => Global::StorageType(DType::F32, 4),
        ("torch", "DoubleStorage") => Global::StorageType(DType::F64, 8),
        ("torch", "HalfStorage") => Global::StorageType(DType::F16, 2),
        ("torch", "BFloat16Storage") => Global::StorageType(DType::BF16, 2),
        ("torch", "LongStorage") => Global::StorageType(DType::I64, 8),
        ("torch", "ByteStorage" | "BoolStorage") => Global::StorageType(DType::U8, 1),
        _ => return None,
    })
}

enum Refusal {
    Corrupt(String),
    Unsafe(String),
}

impl From<&str> for Refusal {
    fn from(s: &str) -> Self {
        Self::Corrupt(s.to_owned())
    }
}

type Step<T> = std::result::Result<T, Refusal>;

struct Machine<'a> {
    code: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: HashMap<u32, Item>,
}

impl<'a> Machine<'a> {
    fn bytes(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|&e| e <= self.code.len()).ok_or("data.pkl ends in an instruction")?;
        let out = &self.code[self.at..end];
        self.at = end;
        Ok(out)
    }

    fn number<const N: usize>(&mut self) -> Step<[u8; N]> {
        Ok(self.bytes(N)?.try_into().expect("bytes() gives N bytes"))
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.code[self.at..];
        let end = rest.iter().position(|&b| b == b'\n').ok_or("data.pkl ends in a name")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name is not UTF-8".into())
    }

    fn pop(&mut self) -> Step<Item> {
        match self.stack.pop() {
            None | Some(Item::Mark) => Err("the pickle stack is empty".into()),
            Some(item) => Ok(item),
        }
    }

    fn top(&self) -> Step<&Item> {
        self.stack.last().ok_or("the pickle stack is empty".into())
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Item>> {
        let at = self.stack.iter().rposition(|i| matches!(i, Item::Mark)).ok_or("no mark on the pickle stack")?;
        let items = self.stack.split_off(at + 1);
        self.stack.pop();
        Ok(items)
    }

    fn text(&mut self, length: usize) -> Step<()> {
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| "text is not UTF-8")?;
        self.stack.push(Item::Text(text.into()));
        Ok(())
    }

    fn tuple(&mut self, items: Vec<Item>) -> Step<()> {
        let inner = items.iter().map(|i| if let Item::Tuple(_, d) = i { *d } else { 0 }).max().unwrap_or(0);
        if inner + 1 > MAX_DEPTH {
            return Err("tuples are nested too deeply".into());
        }
        self.stack.push(Item::Tuple(Rc::new(items), inner + 1));
        Ok(())
    }

    fn push_global(&mut self, module: &str, name: &str) -> Step<()> {
        match global(module, name) {
            Some(g) => self.stack.push(Item::Global(g)),
            None => {
                let name = printable(&format!("{module}.{name}"), 120);
                return Err(Refusal::Unsafe(format!(
                    "it names {name}, which a file of tensors has no use for; ask for it as safetensors"
                )));
            }
        }
        Ok(())
    }

    fn run(mut self) -> Step<Item> {
        loop {
            match self.number::<1>()?[0] {
                0x80 => {
                    let [v] = self.number()?;
                    if v > 5 {
                        return Err("an unknown pickle protocol".into());
                    }
                }
                0x95 => {
                    self.bytes(8)?; // frame length
                }
                b'.' => return self.pop(),
                b'(' => self.stack.push(Item::Mark),
                b'0' => {
                    self.pop()?;
                }
                b'N' => self.stack.push(Item::None),
                0x88 | 0x89 => self.stack.push(Item::Bool),
                b'J' => {
                    let n = i32::from_le_bytes(self.number()?);
                    self.stack.push(Item::Int(n.into()));
                }
                b'K' => {
                    let [n] = self.number()?;
                    self.stack.push(Item::Int(n.into()));
                }
                b'M' => {
                    let n = u16::from_le_bytes(self.number()?);
                    self.stack.push(Item::Int(n.into()));
                }
                0x8a => {
                    let [n] = self.number()?;
                    if n > 8 {
                        return Err("an integer is too large".into());
                    }
                    let bytes = self.bytes(n.into())?;
                    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
                    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
                    wide[..bytes.len()].copy_from_slice(bytes);
                    self.stack.push(Item::Int(i64::from_le_bytes(wide)));
                }
                b'G' => {
                    self.bytes(8)?;
                    self.stack.push(Item::Other);
                }
                b'X' => {
                    let n = u32::from_le_bytes(self.number()?);
                    self.text(n as usize)?;
                }
                0x8c => {
                    let [n] = self.number()?;
                    self.text(n.into())?;
                }
                b'}' => self.stack.push(Item::Dict(Rc::default())),
                b']' => self.stack.push(Item::Other),
                b')' => self.tuple(Vec::new())?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.tuple(items)?;
                }
                op @ 0x85..=0x87 => {
                    let n = usize::from(op - 0x84);
                    let at = self.stack.len().checked_sub(n).ok_or("the pickle stack is empty")?;
                    let items = self.stack.split_off(at);
                    self.tuple(items)?;
                }
                b'q' => {
                    let [n] = self.number()?;
                    self.remember(n.into())?;
                }
                b'r' => {
                    let n = u32::from_le_bytes(self.number()?);
                    self.remember(n)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let [n] = self.number()?;
                    self.recall(n.into())?;
                }
                b'j' => {
                    let n = u32::from_le_bytes(self.number()?);
                    self.recall(n)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push_global(module, name)?;
                }
                0x93 => {
                    let (Item::Text(name), Item::Text(module)) = (self.pop()?, self.pop()?) else {
                        return Err("a name is no text".into());
                    };
                    self.push_global(&module, &name)?;
                }
                b'Q' => self.storage()?,
                b'R' => self.reduce()?,
                b'b' => {
                    self.pop()?; // state of an OrderedDict (`_metadata`) or of a parameter
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set(items)?;
                }
                b'a' => {
                    self.pop()?;
                }
                b'e' => {
                    self.pop_to_mark()?;
                }
                op => {
                    return Err(Refusal::Unsafe(format!(
                        "its pickle program uses instruction 0x{op:02x}; ask for it as safetensors"
                    )))
                }
            }
        }
    }

    fn remember(&mut self, n: u32) -> Step<()> {
        let item = self.top()?.clone();
        self.memo.insert(n, item);
        Ok(())
    }

    fn recall(&mut self, n: u32) -> Step<()> {
        let item = self.memo.get(&n).ok_or("the pickle recalls what it never stored")?.clone();
        self.stack.push(item);
        Ok(())
    }

    fn set(&mut self, items: Vec<Item>) -> Step<()> {
        if let Item::Dict(dict) = self.top()? {
            let mut dict = dict.borrow_mut();
            let mut items = items.into_iter();
            while let (Some(k), Some(v)) = (items.next(), items.next()) {
                // A dict inside itself would never be freed.
                dict.push((k, if matches!(v, Item::Dict(_)) { Item::Other } else { v }));
            }
        }
        Ok(())
    }

    fn storage(&mut self) -> Step<()> {
        let Item::Tuple(parts, _) = self.pop()? else {
            return Err("a persistent id is no tuple".into());
        };
        let [Item::Text(kind), Item::Global(Global::StorageType(dtype, _)), Item::Text(key), Item::Text(_), Item::Int(size)] =
            &parts[..]
        else {
            return Err("a persistent id is no storage".into());
        };
        if &**kind != "storage"
            || *size < 0
            || key.is_empty()
            || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            return Err("a persistent id is no storage".into());
        }
        self.stack.push(Item::Storage(Rc::new(Storage { key: key.to_string(), dtype: *dtype, size: *size as usize })));
        Ok(())
    }

    fn reduce(&mut self) -> Step<()> {
        let (Item::Tuple(args, _), Item::Global(function)) = (self.pop()?, self.pop()?) else {
            return Err("a call of something that is no name".into());
        };
        let item = match function {
            Global::OrderedDict => Item::Dict(Rc::default()),
            Global::RebuildParameter => match args.first() {
                Some(t @ Item::Tensor(_)) => t.clone(),
                _ => return Err("a parameter without a tensor".into()),
            },
            Global::RebuildTensor => {
                let [Item::Storage(storage), Item::Int(offset), Item::Tuple(shape, _), Item::Tuple(stride, _), ..] =
                    &args[..]
                else {
                    return Err("a tensor is not built as torch builds it".into());
                };
                let sizes = |items: &[Item]| -> Step<Vec<usize>> {
                    let one = |i: &Item| match i {
                        Item::Int(n) if (0..1 << 40).contains(n) => Ok(*n as usize),
                        _ => Err("a tensor's size is no number".into()),
                    };
                    items.iter().map(one).collect()
                };
                if *offset < 0 || shape.len() != stride.len() || shape.len() > 16 {
                    return Err("a tensor's shape and stride do not fit".into());
                }
                let (shape, stride) = (sizes(shape)?, sizes(stride)?);
                Item::Tensor(Rc::new(Tensor { storage: storage.clone(), offset: *offset as usize, shape, stride }))
            }
            Global::StorageType(..) => return Err("a call of a storage type".into()),
        };
        self.stack.push(item);
        Ok(())
    }
}

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
        data.push(super::safetensors::bytes(array)?);
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

#[cfg(test)]
mod tests {
    use super::*;

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
