//! One of the readers, as `FUZZ_TARGET` names it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use swift_tuners_fuzz::{find, Target};

fn target() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name}: there is no such reader"))
    })
}

fuzz_target!(|bytes: &[u8]| (target().run)(bytes));
