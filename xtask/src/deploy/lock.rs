//! Commands that change something are serialized per project and engine, over all
//! clones and users of this machine.
//!
//! The lock is the operating system's, on a file that stays. Its text is the
//! signature of the holder, and empty when the holder is done.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{env, thread};

use anyhow::{Context as _, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Failure;
use crate::process;

/// Between two tries while another process holds the lock.
const PAUSE: Duration = Duration::from_millis(200);

/// File times come from a coarser clock than the program's own.
const CLOCK: Duration = Duration::from_millis(20);

/// Held until dropped. It is released when its holder ends, however it ends, and
/// with it all processes that inherited the file.
pub struct Lock {
    file: Arc<File>,
    /// Whether the file could be written: another user's may be readable only.
    signed: bool,
    /// Whether nothing was changed under this lock since a point in time.
    unchanged: bool,
}

impl Lock {
    /// The file, for commands that must keep the lock to their end; none where they
    /// could not write to it.
    pub fn file(&self) -> Option<Arc<File>> {
        (self.signed && cfg!(unix)).then(|| self.file.clone())
    }

    /// Whether what was observed since the time given to [`take`] still holds.
    pub fn unchanged(&self) -> bool {
        self.unchanged
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        // What a command left in the background may keep the file open.
        let _ = self.file.unlock();
    }
}

/// Takes the lock for a project on an engine. Waits for its holder and names it;
/// `command` is the signature that others read meanwhile. `since` is when the
/// caller began to observe the project.
/// Fails when the lock file can't be opened; after a signal while waiting.
pub fn take(engine: &str, project: &str, command: &str, since: SystemTime) -> Result<Lock> {
    take_file(&path(engine, project), project, command, since)
}

fn take_file(path: &Path, project: &str, command: &str, since: SystemTime) -> Result<Lock> {
    let (mut file, mut created) = open(path)?;
    let mut holder = String::new();
    loop {
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => break,
            // It was removed in the meantime.
            Ok(()) => (file, created) = open(path)?,
            Err(TryLockError::Error(error)) => return Err(error).context("locking"),
            Err(TryLockError::WouldBlock) => {
                process::interrupted()?;
                // A holder may not have signed yet.
                let text = signature(&mut file);
                let now = text.lines().next().unwrap_or("another xtask");
                if now != holder {
                    now.clone_into(&mut holder);
                    say!(
                        "waiting for {now}, which works on project `{project}`; Ctrl-C to give up"
                    );
                }
                thread::sleep(PAUSE);
            }
        }
    }
    // A holder that was killed leaves its signature, and nothing tells when it ended.
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let before = modified.is_ok_and(|modified| modified + CLOCK < since);
    let unchanged = holder.is_empty() && (created || (before && signature(&mut file).is_empty()));
    let user = env::var("USER").or_else(|_| env::var("USERNAME"));
    let user = user.map(|user| format!(" of {user}")).unwrap_or_default();
    let signed = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "`{command}` (process {}{user})", std::process::id()));
    Ok(Lock { file: Arc::new(file), signed: signed.is_ok(), unchanged })
}

fn signature(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text
}

/// In a directory that all users of the machine share, where there is one.
pub fn path(engine: &str, project: &str) -> PathBuf {
    let directory = if cfg!(unix) { PathBuf::from("/tmp") } else { env::temp_dir() };
    directory.join(format!("xtask-{project}-{:016x}.lock", xxh3_64(engine.as_bytes())))
}

/// Whether `path` still leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        file.metadata()
            .map(id)
            .is_ok_and(|ours| fs_err::metadata(path).map(id).is_ok_and(|id| id == ours))
    }
    // On Windows std knows no id of a file.
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        true
    }
}

/// Opens the file for all users, and says whether it made it. Another user's may be
/// readable only, which is enough to lock it; and in a sticky directory the kernel
/// refuses to create over another user's file, so an existing one is tried first.
fn open(path: &Path) -> Result<(File, bool)> {
    let existing =
        || File::options().read(true).write(true).open(path).or_else(|_| File::open(path));
    let opened = || -> std::io::Result<(File, bool)> {
        // A link could lead to a file that is not ours to write.
        if fs_err::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        if let Ok(file) = existing() {
            return Ok((file, false));
        }
        match File::options().read(true).write(true).create_new(true).open(path) {
            Ok(file) => {
                #[cfg(unix)]
                file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
                Ok((file, true))
            }
            // Another one was quicker.
            Err(_) => Ok((existing()?, false)),
        }
    };
    opened().map_err(|error| {
        Failure::new(format!("the lock {} cannot be opened: {error}", path.display()))
            .hint(format!("ls -ld {}   # its owner; remove it if no xtask runs", path.display()))
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        env::temp_dir().join(format!("xtask-lock-{name}-{}", std::process::id()))
    }

    /// On Windows only its holder can read a locked file.
    fn is_signed(path: &Path, want: &str) -> bool {
        cfg!(windows) || fs_err::read_to_string(path).unwrap().starts_with(want)
    }

    #[test]
    fn a_second_taker_waits_until_the_first_is_done() {
        let path = path("turns");
        let first = take_file(&path, "p", "full", SystemTime::now()).unwrap();
        let second = thread::spawn({
            let path = path.clone();
            move || take_file(&path, "p", "restart", SystemTime::now()).unwrap()
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!second.is_finished());
        assert!(is_signed(&path, "`full` (process "));
        drop(first);
        let second = second.join().unwrap();
        assert!(!second.unchanged(), "it waited");
        assert!(is_signed(&path, "`restart` (process "));
        drop(second);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "");
        fs_err::remove_file(path).unwrap();
    }

    #[test]
    fn an_observation_holds_only_where_nothing_changed_since() {
        let path = path("since");
        let take = |since| take_file(&path, "p", "fast", since).unwrap().unchanged();
        let hour = Duration::from_secs(3600);
        assert!(take(SystemTime::now()), "it is new");
        let began = SystemTime::now();
        assert!(take(began + hour), "the last one was done before");
        assert!(!take(began), "another command ran since");
        fs_err::write(&path, "`full` (process 1)\n").unwrap();
        assert!(!take(began + hour), "its holder was killed");
        fs_err::remove_file(path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_a_command_left_in_the_background_does_not_hold_it() {
        let path = path("background");
        let first = take_file(&path, "p", "fast", SystemTime::now()).unwrap();
        let mut sleep = std::process::Command::new("sleep");
        let mut left =
            sleep.arg("60").stdout(first.file().unwrap().try_clone().unwrap()).spawn().unwrap();
        drop(first);
        let second = take_file(&path, "p", "full", SystemTime::now()).unwrap();
        left.kill().unwrap();
        left.wait().unwrap();
        drop(second);
        fs_err::remove_file(path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_removed_is_no_lock() {
        let path = path("removed");
        let first = take_file(&path, "p", "fast", SystemTime::now()).unwrap();
        fs_err::remove_file(&path).unwrap();
        let second = take_file(&path, "p", "full", SystemTime::now()).unwrap();
        assert!(fs_err::read_to_string(&path).unwrap().starts_with("`full`"));
        drop((first, second));
        fs_err::remove_file(path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_never_followed() {
        let (path, target) = (path("link"), path("target"));
        fs_err::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = take_file(&path, "p", "fast", SystemTime::now()).err().unwrap();
        assert!(error.to_string().ends_with("it is not a regular file"), "{error}");
        assert_eq!(fs_err::read_to_string(&target).unwrap(), "precious");
        fs_err::remove_file(path).unwrap();
        fs_err::remove_file(target).unwrap();
    }
}
