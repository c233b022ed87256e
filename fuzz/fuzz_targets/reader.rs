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

/// Writes the files that fuzzing begins with to the folder `FUZZ_SEEDS`, and ends; does nothing without it.
fn begin() {
    // libFuzzer's own aborts at every panic, those of libraries that a reader catches and makes errors of, too.
    let _ = std::panic::take_hook();
    let Ok(folder) = std::env::var("FUZZ_SEEDS") else { return };
    for (i, seed) in (target().seeds)().into_iter().enumerate() {
        std::fs::write(std::path::Path::new(&folder).join(format!("seed-{i}")), seed).expect("a folder");
    }
    std::process::exit(0);
}

fuzz_target!(init: begin(), |bytes: &[u8]| (target().run)(bytes));
