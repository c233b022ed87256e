//! Files: reading with bounds, and folders that somebody may replace meanwhile.

use crate::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// Opens a regular file (links are followed: the hub cache is made of them) and returns it with its size.
pub fn open_regular(path: &Path) -> Result<(File, u64)> {
    let meta = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !meta.is_file() {
        return Err(Error::Unsafe { path: path.to_owned(), message: "not a regular file".into() });
    }
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    Ok((file, meta.len()))
}

pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path)?;
    if size > max {
        return Err(Error::corrupt(path, format!("{size} bytes are more than the {max} allowed here")));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(max + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    Ok(bytes)
}

/// Writes and flushes one file.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| Error::io(path, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Error::io(path, e))
}

/// Whether something is there. A folder that may not be looked into is an error, and not an absence.
pub fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|e| Error::io(path, e))
}

/// How often a folder may be replaced while it is read.
const TRIES: usize = 20;

/// Reads a folder that somebody may replace meanwhile, as [`replace_dir`](super::replace_dir) does: again, where it was another one in the
/// end, so that files of two saves never meet.
pub fn while_it_stays<T>(dir: &Path, mut read: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..TRIES {
        let before = identity(dir);
        let found = read();
        if identity(dir) == before {
            return found;
        }
    }
    Err(Error::io(dir, std::io::Error::other("it was replaced again and again while it was read")))
}

/// What tells a folder from another one at the same place.
fn identity(dir: &Path) -> Option<impl PartialEq> {
    let meta = fs::metadata(dir).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
    }
    #[cfg(not(unix))]
    {
        Some((meta.created().ok(), meta.modified().ok()))
    }
}
