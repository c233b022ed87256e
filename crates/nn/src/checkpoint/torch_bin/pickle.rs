//! A machine for the pickle instructions of state dicts.

use super::items::{global, Global, Item, Storage, Tensor};
use crate::error::printable;
use std::collections::HashMap;
use std::rc::Rc;

/// Deeper nesting than any state dict has; values are dropped recursively.
const MAX_DEPTH: usize = 32;

pub(super) enum Refusal {
    Corrupt(String),
    Unsafe(String),
}

impl From<&str> for Refusal {
    fn from(s: &str) -> Self {
        Self::Corrupt(s.to_owned())
    }
}

pub(super) type Step<T> = std::result::Result<T, Refusal>;

pub(super) struct Machine<'a> {
    pub code: &'a [u8],
    pub at: usize,
    pub stack: Vec<Item>,
    pub memo: HashMap<u32, Item>,
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

    pub fn run(mut self) -> Step<Item> {
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
