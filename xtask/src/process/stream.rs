//! Commands whose output the user sees as it comes.

use std::{
    fs::File,
    io::Write as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use xshell::Shell;

use super::{Invocation, command, exit_code, interrupted, signals::signal, start};
use crate::error::Failure;

/// Runs a command with the user's terminal as its own, for one that asks there.
///
/// # Errors
/// When the program can't be started or ends with a non-zero exit code, which
/// the error passes on; after a signal as [`interrupted`].
pub fn stream(sh: &Shell, invocation: &Invocation) -> Result<()> {
    let code = exit_code(start(&mut command(sh, invocation), invocation)?.wait()?);
    judge(invocation, code, "")
}

/// Runs a command, passes on what it writes, and reads along, so that the error
/// can name a known cause.
///
/// It runs in a process group of its own, so that Ctrl-C reaches it by way of
/// xtask alone: once.
///
/// # Errors
/// As [`stream`].
pub fn stream_and_note(sh: &Shell, invocation: &Invocation) -> Result<()> {
    stream_with(sh, invocation, Duration::ZERO)
}

fn stream_with(sh: &Shell, invocation: &Invocation, grace: Duration) -> Result<()> {
    let mut command = in_own_group(sh, invocation);
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()), invocation)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (code, noted) = thread::scope(|scope| -> Result<_> {
        let out =
            scope.spawn(|| stdout.map(|pipe| pass_on(pipe, std::io::stdout())).unwrap_or_default());
        let err =
            scope.spawn(|| stderr.map(|pipe| pass_on(pipe, std::io::stderr())).unwrap_or_default());
        let code = exit_code(outwait(&mut child, grace, || {})?);
        Ok((code, out.join().unwrap_or_default() + &err.join().unwrap_or_default()))
    })?;
    judge(invocation, code, &noted)
}

/// The same for a command that had better not be cut in half: it hears of a
/// signal only after `grace`, in which it may end by itself, and where xtask is
/// killed it goes on to its end. For that it writes to `log`, not to a pipe that
/// breaks, and so keeps that file open, and the lock on it.
///
/// # Errors
/// As [`stream`].
pub fn outlive(
    sh: &Shell,
    invocation: &Invocation,
    grace: Duration,
    log: Option<&File>,
) -> Result<()> {
    let Some(log) = log else { return stream_with(sh, invocation, grace) };
    let (mut at, mut noted) = (log.metadata()?.len(), String::new());
    let mut command = in_own_group(sh, invocation);
    command.stdout(log.try_clone()?).stderr(log.try_clone()?);
    let mut child = start(&mut command, invocation)?;
    let mut read_on = || {
        let new = written_since(log, at);
        at += new.len() as u64;
        let _ = std::io::stderr().write_all(&new);
        noted += &String::from_utf8_lossy(&new);
        !new.is_empty()
    };
    let code = exit_code(outwait(&mut child, grace, || while read_on() {})?);
    while read_on() {}
    judge(invocation, code, &noted)
}

/// What stands in a file from `at` on. The place where a child writes on stays
/// as it is.
#[cfg(unix)]
fn written_since(file: &File, at: u64) -> Vec<u8> {
    let mut block = vec![0; 4096];
    let length = std::os::unix::fs::FileExt::read_at(file, &mut block, at).unwrap_or_default();
    block.truncate(length);
    block
}

/// Nobody else may read or write a locked file here.
#[cfg(not(unix))]
fn written_since(_file: &File, _at: u64) -> Vec<u8> {
    Vec::new()
}

fn in_own_group(sh: &Shell, invocation: &Invocation) -> Command {
    let mut command = command(sh, invocation);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

fn judge(invocation: &Invocation, code: i32, output: &str) -> Result<()> {
    interrupted()?;
    if code == 0 {
        return Ok(());
    }
    Err(Failure::of_command(&invocation.to_string(), code, output).into())
}

/// Copies to the terminal and returns the last of it.
fn pass_on(mut from: impl std::io::Read, mut to: impl std::io::Write) -> String {
    const KEPT: usize = 16 * 1024;
    let (mut block, mut last) = ([0; 4096], Vec::new());
    while let Ok(n @ 1..) = from.read(&mut block) {
        let _ = to.write_all(&block[..n]).and_then(|()| to.flush());
        last.extend_from_slice(&block[..n]);
        if last.len() > 2 * KEPT {
            last.drain(..last.len() - KEPT);
        }
    }
    String::from_utf8_lossy(&last).into_owned()
}

/// Waits for a child; does `meanwhile` again and again. Its process group hears
/// of a first signal `grace` after it came, of a second one at once, and is
/// killed at the third.
fn outwait(child: &mut Child, grace: Duration, mut meanwhile: impl FnMut()) -> Result<ExitStatus> {
    // How many there were, the last one and its time.
    let mut signals: Option<(u32, usize, Instant)> = None;
    let mut told = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let number = signal().swap(0, Ordering::Relaxed);
        if number != 0 {
            let count = signals.map_or(0, |(count, ..)| count) + 1;
            signals = Some((count, number, Instant::now()));
            if count == 1 && !grace.is_zero() {
                warn!("finishing this step first: what is half swapped would not serve");
            }
        }
        if let Some((count, number, came)) = signals
            && told < count
            && (count > 1 || came.elapsed() >= grace)
        {
            told = count;
            tell_group(child, if count > 2 { 9 } else { number });
        }
        meanwhile();
        thread::sleep(Duration::from_millis(10));
    };
    // Whoever asks next is to know of it.
    if let Some((_, number, _)) = signals {
        signal().store(number, Ordering::Relaxed);
    }
    Ok(status)
}

/// On Windows the console tells all of its processes. The shell's own `kill`,
/// since a small system has no other; a group that is gone needs none.
fn tell_group(child: &Child, signal: usize) {
    if cfg!(unix) {
        let kill = format!("kill -{signal} -{}", child.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Invocation {
        Invocation::new("sh", ["-c", script])
    }

    #[test]
    fn streams_pass_the_childs_code_on_and_know_causes() {
        let shell = Shell::new().unwrap();
        let error = stream(&shell, &sh("exit 17")).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 17);
        let noted = sh("echo out; echo 'port is already allocated' >&2; exit 3");
        let error = stream_and_note(&shell, &noted).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 3);
        assert!(error.to_string().contains("taken by another program"), "{error}");
        stream_and_note(&shell, &sh("true")).unwrap();
    }

    #[test]
    fn what_outlives_us_writes_to_the_log_and_is_read_along() {
        let shell = Shell::new().unwrap();
        let path = std::env::temp_dir().join(format!("xtask-log-test-{}", std::process::id()));
        let mut log = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        log.write_all(b"signature\n").unwrap();
        let run = |script: &str| outlive(&shell, &sh(script), Duration::ZERO, Some(&log));
        run("echo one; echo two >&2").unwrap();
        let error = run("echo 'port is already allocated' >&2; exit 3").unwrap_err();
        assert!(error.to_string().contains("taken by another program"), "{error}");
        let text = fs_err::read_to_string(&path).unwrap();
        assert_eq!(text, "signature\none\ntwo\nport is already allocated\n");
        fs_err::remove_file(path).unwrap();
    }
}
