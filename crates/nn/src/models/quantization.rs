//! Which weights a model keeps in few bits.

use crate::quantized::Packing;

/// Which linear layers of a model are kept in few bits.
#[derive(Clone, Debug)]
pub struct Quantization {
    pub packing: Packing,
    /// Names or paths of modules that stay as they are, with all below them. Absent: the heads, as transformers leaves them.
    pub skip_modules: Option<Vec<String>>,
}

impl Quantization {
    pub(super) fn skips(&self, path: &str) -> bool {
        let path = format!(".{path}.");
        self.skip_modules.iter().flatten().any(|name| path.contains(&format!(".{name}.")))
    }
}
