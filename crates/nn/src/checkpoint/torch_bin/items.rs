//! What a pickle program leaves on its stack.

use candle_core::DType;
use std::rc::Rc;

#[derive(Clone)]
pub(super) enum Item {
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
pub(super) enum Global {
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    StorageType(DType, usize),
}

pub(super) struct Storage {
    pub key: String,
    pub dtype: DType,
    pub size: usize,
}

pub(super) struct Tensor {
    pub storage: Rc<Storage>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

pub(super) fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch", "FloatStorage") => Global::StorageType(DType::F32, 4),
        ("torch", "DoubleStorage") => Global::StorageType(DType::F64, 8),
        ("torch", "HalfStorage") => Global::StorageType(DType::F16, 2),
        ("torch", "BFloat16Storage") => Global::StorageType(DType::BF16, 2),
        ("torch", "LongStorage") => Global::StorageType(DType::I64, 8),
        ("torch", "IntStorage") => Global::StorageType(DType::I32, 4),
        ("torch", "ShortStorage") => Global::StorageType(DType::I16, 2),
        ("torch", "ByteStorage" | "BoolStorage") => Global::StorageType(DType::U8, 1),
        _ => return None,
    })
}
