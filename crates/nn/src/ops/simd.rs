//! Loops compiled for several vector widths, one of which is chosen at run time.

/// Runs a loop compiled for the widest vector instructions that this machine has. The closure must be inlined, so what it
/// calls is `#[inline(always)]`.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    arch().dispatch(f)
}

/// The vector instructions of this machine, looked up once.
#[inline(always)]
pub(super) fn arch() -> pulp::Arch {
    static ARCH: std::sync::OnceLock<pulp::Arch> = std::sync::OnceLock::new();
    *ARCH.get_or_init(pulp::Arch::new)
}
