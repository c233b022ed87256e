//! Reading with bounds; writing so that a reader sees the old state or the new one.

use crate::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

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

/// A file name that stays in its folder on every system.
pub fn check_plain_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("empty");
    }
    if name.len() > 255 {
        return Err("longer than 255 bytes");
    }
    if name == "." || name == ".." || name.contains(['/', '\\', ':', '<', '>', '"', '|', '?', '*']) {
        return Err("contains a character that may leave the folder or that some system forbids");
    }
    if name.chars().any(|c| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }) {
        return Err("contains a control or direction character");
    }
    if name.starts_with(' ') || name.ends_with([' ', '.']) {
        return Err("begins or ends with a space, or ends with a dot");
    }
    let stem = name.split('.').next().unwrap_or("").to_ascii_uppercase();
    let numbered =
        |p: &str| stem.strip_prefix(p).is_some_and(|n| n.len() == 1 && n.chars().all(|c| c.is_ascii_digit()));
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT") {
        return Err("a reserved device name on Windows");
    }
    Ok(())
}

fn sync_dir(path: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(path).and_then(|d| d.sync_all()).map_err(|e| Error::io(path, e))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn sync_tree(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        }
    }
    sync_dir(dir)
}

/// Removes the staging folder unless it was moved into place.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn unique() -> String {
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    format!("{}-{:x}", std::process::id(), crate::context::mix(time, n))
}

/// Removes what killed processes have left beside `target`.
fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|n| n.strip_prefix(prefix)) else {
            continue;
        };
        let Some(owner) = rest.split('-').next().and_then(|p| p.parse::<u32>().ok()) else {
            continue;
        };
        if cfg!(target_os = "linux") && owner != std::process::id() && !Path::new(&format!("/proc/{owner}")).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Fills a new folder with `write` and puts it in the place of `target` in one step.
///
/// Files of an existing `target` that `write` did not make are kept. A failure leaves `target` as it was and nothing
/// beside it.
pub fn replace_dir(target: &Path, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let target = &std::path::absolute(target).map_err(|e| Error::io(target, e))?;
    // A link to a folder: the folder is what gets replaced.
    let target =
        &if target.is_symlink() { fs::canonicalize(target).map_err(|e| Error::io(target, e))? } else { target.clone() };
    let name = match target.file_name().and_then(|n| n.to_str()) {
        Some(name) if !name.is_empty() => name,
        _ => return Err(Error::Argument(format!("{}: cannot be saved to", target.display()))),
    };
    if target.exists() && !target.is_dir() {
        let exists = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "exists and is not a folder");
        return Err(Error::io(target, exists));
    }
    let parent = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    let prefix = format!(".{name}.tmp-");
    sweep(parent, &prefix);
    let staging = Staging(parent.join(format!("{prefix}{}", unique())));
    fs::create_dir(&staging.0).map_err(|e| Error::io(&staging.0, e))?;
    write(&staging.0).map_err(|e| rename_in_error(e, &staging.0, target))?;
    if target.exists() {
        keep_others(target, &staging.0)?;
    }
    sync_tree(&staging.0).map_err(|e| rename_in_error(e, &staging.0, target))?;
    swap(&staging.0, target)?;
    sync_dir(parent)
}

/// An error inside the staging folder names the place the caller asked for.
fn rename_in_error(error: Error, staging: &Path, target: &Path) -> Error {
    match error {
        Error::Io { path, source } => {
            let path = path.strip_prefix(staging).map_or(path.clone(), |rest| target.join(rest));
            Error::Io { path, source }
        }
        other => other,
    }
}

/// Links (or copies) what `old` has and `new` lacks.
fn keep_others(old: &Path, new: &Path) -> Result<()> {
    for entry in fs::read_dir(old).map_err(|e| Error::io(old, e))? {
        let entry = entry.map_err(|e| Error::io(old, e))?;
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        let kind = entry.file_type().map_err(|e| Error::io(&from, e))?;
        if kind.is_dir() {
            if !to.exists() {
                fs::create_dir(&to).map_err(|e| Error::io(&to, e))?;
            } else if has_weights(&to) {
                if let Some(folder) = WEIGHTS.iter().map(|f| from.join(f)).find(|f| f.is_dir()) {
                    let exists = std::io::Error::other("a folder is where a file should go");
                    return Err(Error::io(&folder, exists));
                }
                // An adapter's folder is replaced as a whole: a config and weights of different saves must not meet.
                continue;
            }
            keep_others(&from, &to)?;
        } else if to.symlink_metadata().is_err() && !superseded(&from, new) && fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(|e| Error::io(&from, e))?;
        }
    }
    Ok(())
}

/// The files that make a folder an adapter's.
const WEIGHTS: [&str; 3] = ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"];

fn has_weights(dir: &Path) -> bool {
    WEIGHTS.iter().any(|f| dir.join(f).exists())
}

/// Weights of an older save that the new one replaces in another format or sharding.
fn superseded(old: &Path, new: &Path) -> bool {
    let name = old.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let model = |n: &str| {
        n.starts_with("model") && n.contains(".safetensors") || n.starts_with("pytorch_model") && n.contains(".bin")
    };
    let adapter = |n: &str| n == "adapter_model.safetensors" || n == "adapter_model.bin";
    let rewritten = |kind: &dyn Fn(&str) -> bool| {
        fs::read_dir(new).is_ok_and(|d| d.flatten().any(|e| e.file_name().to_str().is_some_and(kind)))
    };
    model(name) && rewritten(&model) || adapter(name) && rewritten(&adapter)
}

#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let (a, b) = (std::ffi::CString::new(a.as_os_str().as_bytes())?, std::ffi::CString::new(b.as_os_str().as_bytes())?);
    const EXCHANGE: libc::c_uint = 2;
    // SAFETY: both are valid strings that end in zero, and the call keeps no pointer.
    let rc =
        unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, a.as_ptr(), libc::AT_FDCWD, b.as_ptr(), EXCHANGE) };
    if rc == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

fn swap(staging: &Path, target: &Path) -> Result<()> {
    if !target.exists() {
        return fs::rename(staging, target).map_err(|e| Error::io(target, e));
    }
    #[cfg(target_os = "linux")]
    if exchange(staging, target).is_ok() {
        // The old folder now lies at `staging`, which its guard removes.
        return Ok(());
    }
    let parent = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().and_then(|n| n.to_str()).unwrap_or("save");
    let old = Staging(parent.join(format!(".{name}.old-{}", unique())));
    fs::rename(target, &old.0).map_err(|e| Error::io(target, e))?;
    fs::rename(staging, target).map_err(|e| {
        let _ = fs::rename(&old.0, target);
        Error::io(target, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("swift-tuners-files-{}", unique()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_failed_write_leaves_the_old_folder_and_nothing_beside_it() {
        let root = temp();
        let target = root.join("save");
        replace_dir(&target, &mut |d| write_file(&d.join("a"), b"1")).unwrap();
        let failed = replace_dir(&target, &mut |d| {
            write_file(&d.join("a"), b"2")?;
            Err(Error::Aborted)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(target.join("a")).unwrap(), b"1");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        replace_dir(&target, &mut |d| write_file(&d.join("b"), b"3")).unwrap();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"1", "files that the save does not own stay");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        for bad in ["", "..", "a/b", "a\\b", "C:x", "con", "LPT1.bin", "a\u{202e}b", "a\n", " a", "a."] {
            assert!(check_plain_name(bad).is_err(), "{bad:?}");
        }
        for good in ["default", "model-00001-of-00002.safetensors", "öß", "a b"] {
            assert!(check_plain_name(good).is_ok(), "{good:?}");
        }
    }
}
