//! Folders written so that a reader sees the old state or the new one.

use crate::{Error, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

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

/// Removes the staging folder unless it was moved into place. While it lives its lock tells other processes so.
struct Staging {
    path: PathBuf,
    _lock: Option<File>,
}

impl Staging {
    /// A new folder beside others that have `prefix`.
    fn new(parent: &Path, prefix: &str) -> Result<Self> {
        loop {
            let path = parent.join(format!("{prefix}{}", unique()));
            fs::create_dir(&path).map_err(|e| Error::io(&path, e))?;
            match Lock::of(&path) {
                // Swept before it was locked.
                Lock::Lost => continue,
                Lock::Held(lock) => return Ok(Self { path, _lock: Some(lock) }),
                Lock::Unknown => return Ok(Self { path, _lock: None }),
            }
        }
    }
}

/// What tells that a folder is in use: the system gives the lock back when its process ends, whatever other systems know of that process.
enum Lock {
    Held(File),
    /// Another has it, or the folder is gone.
    Lost,
    /// The file system has no locks.
    Unknown,
}

impl Lock {
    #[cfg(unix)]
    fn of(dir: &Path) -> Self {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::MetadataExt;
        let Ok(folder) = File::open(dir) else { return Self::Lost };
        // SAFETY: the descriptor is open for the length of the call.
        if unsafe { libc::flock(folder.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let taken = std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
            return if taken { Self::Lost } else { Self::Unknown };
        }
        let number = |meta: std::io::Result<fs::Metadata>| meta.map(|m| m.ino()).ok();
        match (number(folder.metadata()), number(fs::metadata(dir))) {
            (Some(own), Some(there)) if own == there => Self::Held(folder),
            _ => Self::Lost,
        }
    }

    #[cfg(not(unix))]
    fn of(_: &Path) -> Self {
        Self::Unknown
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Part of a name that nobody else takes.
pub fn unique() -> String {
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    format!("{}-{:x}", std::process::id(), crate::context::mix(time, n))
}

/// Removes what ended processes have left beside `target`: folders that nobody has locked.
fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(|n| n.starts_with(prefix)) {
            continue;
        }
        if let Lock::Held(lock) = Lock::of(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
            drop(lock);
        }
    }
}

/// Whether a folder must stay the one that it is: something is mounted there, or this process works in it.
fn is_fixed(target: &Path, parent: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
        if target.exists() && device(target) != device(parent) {
            return true;
        }
    }
    let _ = parent;
    let here = std::env::current_dir().ok();
    let whole = fs::canonicalize(target).ok();
    matches!((here, whole), (Some(here), Some(whole)) if here.starts_with(&whole))
}

/// Fails where a folder that is there may not be written to.
fn check_writable(target: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let Ok(path) = std::ffi::CString::new(target.as_os_str().as_bytes()) else { return Ok(()) };
        // SAFETY: a valid string that ends in zero, of which the call keeps nothing.
        if unsafe { libc::access(path.as_ptr(), libc::W_OK) } != 0 {
            return Err(Error::io(target, std::io::Error::last_os_error()));
        }
    }
    let _ = target;
    Ok(())
}

/// Moves what was written into a folder that stays, file by file: configurations last, since a reader begins with them.
fn fill(staging: &Path, target: &Path) -> Result<()> {
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(staging).map_err(|e| Error::io(staging, e))? {
        entries.push(entry.map_err(|e| Error::io(staging, e))?.path());
    }
    entries.sort_by_key(|path| path.extension().is_some_and(|e| e == "json"));
    let mut old: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(target).map_err(|e| Error::io(target, e))? {
        old.push(entry.map_err(|e| Error::io(target, e))?.path());
    }
    for from in &old {
        let name = from.file_name().unwrap_or_default();
        if from.is_file() && superseded(from, staging)? && absent(&staging.join(name))? {
            fs::remove_file(from).map_err(|e| Error::io(from, e))?;
        }
    }
    for from in entries {
        let to = target.join(from.file_name().unwrap_or_default());
        if from.is_dir() {
            fs::create_dir_all(&to).map_err(|e| Error::io(&to, e))?;
            fill(&from, &to)?;
        } else {
            fs::rename(&from, &to).map_err(|e| Error::io(&to, e))?;
        }
    }
    sync_dir(target)
}

/// Fills a new folder with `write` and puts it in the place of `target` in one step.
///
/// Files of an existing `target` that `write` did not make are kept, and so is its mode. A failure leaves `target` as it was and nothing
/// beside it. A folder that something is mounted on, or that this process works in, cannot be exchanged: its files are, one by one.
pub fn replace_dir(target: &Path, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    replace_dir_without(target, &[], write)
}

/// The same, where what is called one of `gone` in `target` goes in the same step.
pub fn replace_dir_without(target: &Path, gone: &[&str], write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
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
    let there = target.exists();
    if there {
        check_writable(target)?;
    }
    let fixed = there && is_fixed(target, parent);
    let beside = if fixed { target } else { parent };
    sweep(beside, &prefix);
    let staging = Staging::new(beside, &prefix)?;
    write(&staging.path).map_err(|e| rename_in_error(e, &staging.path, target))?;
    if fixed {
        sync_tree(&staging.path).map_err(|e| rename_in_error(e, &staging.path, target))?;
        return fill(&staging.path, target);
    }
    if there {
        keep_others(target, &staging.path, gone)?;
        // The folder is another one, and may be used by whom the former could be.
        let mode = fs::metadata(target).map_err(|e| Error::io(target, e))?.permissions();
        fs::set_permissions(&staging.path, mode).map_err(|e| Error::io(target, e))?;
    }
    sync_tree(&staging.path).map_err(|e| rename_in_error(e, &staging.path, target))?;
    swap(&staging.path, target)?;
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

/// Links (or copies) what `old` has and `new` lacks, but for what is called one of `gone`.
fn keep_others(old: &Path, new: &Path, gone: &[&str]) -> Result<()> {
    for entry in fs::read_dir(old).map_err(|e| Error::io(old, e))? {
        let entry = entry.map_err(|e| Error::io(old, e))?;
        if gone.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        let kind = entry.file_type().map_err(|e| Error::io(&from, e))?;
        if kind.is_dir() {
            if !to.exists() {
                fs::create_dir(&to).map_err(|e| Error::io(&to, e))?;
            } else if has_weights(&to)? {
                if let Some(folder) = WEIGHTS.iter().map(|f| from.join(f)).find(|f| f.is_dir()) {
                    let exists = std::io::Error::other("a folder is where a file should go");
                    return Err(Error::io(&folder, exists));
                }
                // An adapter's folder is replaced as a whole: a config and weights of different saves must not meet.
                continue;
            }
            keep_others(&from, &to, &[])?;
        } else if absent(&to)? && !superseded(&from, new)? && fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(|e| Error::io(&from, e))?;
        }
    }
    Ok(())
}

/// The files that make a folder an adapter's.
const WEIGHTS: [&str; 3] = ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"];

fn has_weights(dir: &Path) -> Result<bool> {
    for file in WEIGHTS {
        if !absent(&dir.join(file))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether nothing is there, not even a link. What cannot be told is an error, or an old file would be copied over the new one.
fn absent(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(false),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Weights of an older save that the new one replaces in another format or sharding.
fn superseded(old: &Path, new: &Path) -> Result<bool> {
    let name = old.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let model = |n: &str| {
        n.starts_with("model") && n.contains(".safetensors") || n.starts_with("pytorch_model") && n.contains(".bin")
    };
    let adapter = |n: &str| n == "adapter_model.safetensors" || n == "adapter_model.bin";
    let kind: &dyn Fn(&str) -> bool = match (model(name), adapter(name)) {
        (true, _) => &model,
        (_, true) => &adapter,
        _ => return Ok(false),
    };
    for entry in fs::read_dir(new).map_err(|e| Error::io(new, e))? {
        let entry = entry.map_err(|e| Error::io(new, e))?;
        if entry.file_name().to_str().is_some_and(kind) {
            return Ok(true);
        }
    }
    Ok(false)
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
    let old = Staging { path: parent.join(format!(".{name}.old-{}", unique())), _lock: None };
    fs::rename(target, &old.path).map_err(|e| Error::io(target, e))?;
    fs::rename(staging, target).map_err(|e| {
        let _ = fs::rename(&old.path, target);
        Error::io(target, e)
    })
}

#[cfg(test)]
mod tests {
    use super::super::files::write_file;
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
    fn what_is_to_go_is_not_in_the_new_folder_and_everything_else_is() {
        let root = temp();
        let target = root.join("save");
        fs::create_dir_all(target.join("default")).unwrap();
        for name in ["default/a", "b"] {
            write_file(&target.join(name), b"1").unwrap();
        }
        replace_dir_without(&target, &["default"], &mut |d| write_file(&d.join("a"), b"2")).unwrap();
        assert!(!target.join("default").exists());
        assert_eq!(fs::read(target.join("a")).unwrap(), b"2");
        assert_eq!(fs::read(target.join("b")).unwrap(), b"1");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_keeps_its_mode_and_one_that_is_worked_in_stays() {
        let root = temp();
        let target = root.join("save");
        fs::create_dir(&target).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o2750)).unwrap();
            replace_dir(&target, &mut |d| write_file(&d.join("a"), b"1")).unwrap();
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o2750);
        }
        fs::write(target.join("model.safetensors"), b"old").unwrap();
        let staging = Staging::new(&target, ".save.tmp-").unwrap();
        write_file(&staging.path.join("model-1.safetensors"), b"new").unwrap();
        fill(&staging.path, &target).unwrap();
        assert!(!target.join("model.safetensors").exists() && target.join("model-1.safetensors").exists());
        drop(staging);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_folders_that_nobody_has_locked_are_swept() {
        let root = temp();
        let held = Staging::new(&root, ".save.tmp-").unwrap();
        let left = root.join(".save.tmp-1-gone");
        fs::create_dir(&left).unwrap();
        sweep(&root, ".save.tmp-");
        assert!(!left.exists() && held.path.exists());
        drop(held);
        fs::remove_dir_all(root).unwrap();
    }
}
