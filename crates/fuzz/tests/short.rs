//! The short run: every target's seeds, every file that once broke one, and some thousand mutations. `FUZZ_RUNS` asks for more of them.

use std::path::Path;
use std::time::{Duration, Instant};
use swift_tuners_fuzz::{Mutator, Target, TARGETS};

/// Far above what any file needs, and far below a hang.
const LIMIT: Duration = Duration::from_secs(5);

fn run(target: &Target, file: &[u8]) {
    let began = Instant::now();
    (target.run)(file);
    assert!(began.elapsed() < LIMIT, "{}: {:?} for {:?}", target.name, began.elapsed(), String::from_utf8_lossy(file));
}

#[test]
fn seeds_and_mutations_are_read_or_refused() {
    let runs: u64 = std::env::var("FUZZ_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        seeds.iter().for_each(|seed| run(target, seed));
        let mut mutator = Mutator::new(seeds, 42);
        for _ in 0..runs {
            run(target, &mutator.make());
        }
    }
}

#[test]
fn what_once_broke_a_reader_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for target in TARGETS {
        for entry in std::fs::read_dir(folder.join(target.name)).into_iter().flatten() {
            run(target, &std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
