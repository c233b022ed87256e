//! Files that readers open by path, without a disk.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;

/// A file in memory that has a path: the readers open, measure and read it as any other.
struct Scratch {
    file: File,
    path: PathBuf,
}

thread_local! {
    static SCRATCH: OnceCell<Scratch> = const { OnceCell::new() };
}

/// A folder of this process in memory, where the system has one.
fn home() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() {
        shm
    } else {
        std::env::temp_dir()
    }
}

impl Scratch {
    fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = home().join(format!("swift-tuners-fuzz-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        // Readers of an index look for the model that it is of.
        std::fs::write(folder.join("config.json"), crate::seeds::MODEL).expect("a file");
        let path = folder.join("model.safetensors.index.json");
        let file = File::create(&path).expect("a file");
        Self { file, path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.path.parent().map(std::fs::remove_dir_all);
    }
}

/// Calls `read` with the path of a file that holds these bytes beside a model's config.json.
pub fn with_file<T>(bytes: &[u8], read: impl FnOnce(&std::path::Path) -> T) -> T {
    SCRATCH.with(|scratch| {
        let scratch = scratch.get_or_init(Scratch::new);
        let mut file = &scratch.file;
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(bytes)).expect("a file in memory");
        read(&scratch.path)
    })
}
