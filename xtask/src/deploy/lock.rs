//! One change at a time per compose project and engine, over all clones and
//! users of this machine.

use std::{
    env,
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Failure;
use crate::process;

/// Between two tries while somebody else holds the lock.
const PAUSE: Duration = Duration::from_millis(200);

/// Held until dropped. The operating system releases it when its holder ends,
/// however it ends, and with it all to whom the holder passed the file on;
/// dropping also removes the file.
pub struct Lock {
    path: PathBuf,
    file: Arc<File>,
    signed: bool,
    /// Whether somebody else had it first: what was known before may be old.
    pub waited: bool,
}

impl Lock {
    /// The file, which holds the lock as long as anybody has it open; none where
    /// others could not write to it.
    pub fn file(&self) -> Option<Arc<File>> {
        (self.signed && cfg!(unix)).then(|| self.file.clone())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays (another user's, or after a kill) does no harm.
        let _ = fs_err::remove_file(&self.path);
    }
}

/// Takes the lock for a project on an engine, waiting for its holder, who is
/// named; `command` is what others are told that we do.
///
/// # Errors
/// When the lock file can't be made; with 130 after Ctrl-C while waiting.
pub fn take(engine: &str, project: &str, command: &str) -> Result<Lock> {
    take_file(&place(engine, project), project, command)
}

fn take_file(path: &Path, project: &str, command: &str) -> Result<Lock> {
    let mut file = opened(path)?;
    let mut holder = String::new();
    loop {
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => break,
            // Its last holder removed it in the meantime: try its successor.
            Ok(()) => file = opened(path)?,
            Err(TryLockError::Error(error)) => return Err(error).context("locking"),
            Err(TryLockError::WouldBlock) => {
                process::interrupted()?;
                let mut text = String::new();
                // Whoever holds it may not have signed yet.
                let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
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
    let user = env::var("USER")
        .or_else(|_| env::var("USERNAME"))
        .map(|user| format!(" of {user}"))
        .unwrap_or_default();
    // The signature is a courtesy; on a read-only handle it fails, the lock holds.
    let signed = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "`{command}` (process {}{user})", std::process::id()));
    Ok(Lock {
        path: path.to_owned(),
        file: Arc::new(file),
        signed: signed.is_ok(),
        waited: !holder.is_empty(),
    })
}

/// A directory that all users of the machine share, where there is one.
fn place(engine: &str, project: &str) -> PathBuf {
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
            .is_ok_and(|held| fs_err::metadata(path).is_ok_and(|there| id(held) == id(there)))
    }
    // Windows doesn't remove a file that somebody has open.
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        true
    }
}

fn opened(path: &Path) -> Result<File> {
    Ok(open(path).map_err(|error| {
        Failure::new(format!("the lock {} cannot be opened: {error}", path.display())).hint(
            format!(
                "ls -ld {}   # whose it is; where nobody runs xtask, remove it",
                path.display()
            ),
        )
    })?)
}

/// Opens the file for everybody. One that another user made may be readable
/// only, which suffices to lock it; and in a sticky directory the kernel refuses
/// to create over somebody else's file, so an existing one is tried first.
fn open(path: &Path) -> std::io::Result<File> {
    // Somebody may have laid a link there, to a file that is not ours to sign.
    if fs_err::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let writable = || File::options().read(true).write(true).open(path);
    writable().or_else(|_| File::open(path)).or_else(|_| {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        Ok(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_waits_until_the_first_is_done() {
        let path = env::temp_dir().join(format!("xtask-lock-test-{}", std::process::id()));
        let first = take_file(&path, "p", "full").unwrap();
        let second = thread::spawn({
            let path = path.clone();
            move || take_file(&path, "p", "restart").unwrap()
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!second.is_finished());
        assert!(fs_err::read_to_string(&path).unwrap().starts_with("`full` (process "));
        drop(first);
        let second = second.join().unwrap();
        assert!(fs_err::read_to_string(&path).unwrap().starts_with("`restart` (process "));
        drop(second);
        assert!(!path.exists(), "nothing is left behind");
    }
}
