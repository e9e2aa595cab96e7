//! The only room that starts processes.
//!
//! Children get the user's environment less what `cargo run` added to it. On
//! Ctrl-C xtask lets the child under way tidy up before it ends itself.

mod signals;
mod stream;

use std::{
    env, fmt,
    io::Write as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use xshell::Shell;
use xxhash_rust::xxh3::xxh3_64;

pub use self::{
    signals::{interrupted, note_signals, take_signal},
    stream::{outlive, stream, stream_and_note},
};
use crate::error::Failure;

/// How long a question may go on after a signal; most are answered sooner.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells this run of xtask from all others, also on other machines: 16
/// hexadecimal digits.
pub fn run_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let who = format!("{} {:?}", std::process::id(), SystemTime::now());
        format!("{:016x}", xxh3_64(who.as_bytes()))
    })
}

/// A command line, ready to be run or to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    program: String,
    args: Vec<String>,
    stdin: Option<Vec<u8>>,
    /// Whether its environment has to be the user's to the letter.
    exact: bool,
}

impl Invocation {
    /// `program` with `args`, its standard input empty.
    pub fn new<S: Into<String>>(program: &str, args: impl IntoIterator<Item = S>) -> Invocation {
        Invocation {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            stdin: None,
            exact: false,
        }
    }

    /// The same with more arguments.
    pub fn and<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Invocation {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The same in the user's environment to the letter, for what looks into it.
    pub fn exactly(self) -> Invocation {
        Invocation { exact: true, ..self }
    }

    /// The argument after `option`.
    pub fn value_of(&self, option: &str) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == option)?;
        self.args.get(at + 1).map(String::as_str)
    }

    /// The same, reading `text` from its standard input.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Invocation {
        self.stdin = Some(text.into());
        self
    }
}

impl fmt::Display for Invocation {
    /// As one would type it in a POSIX shell; what goes to standard input is
    /// not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        for arg in &self.args {
            let plain = !arg.is_empty()
                && arg.chars().all(|c| c.is_alphanumeric() || "-_./:=@,+%".contains(c));
            if plain {
                write!(f, " {arg}")?
            } else {
                write!(f, " '{}'", arg.replace('\'', r"'\''"))?
            }
        }
        Ok(())
    }
}

/// What a finished command left behind.
#[derive(Debug, Default)]
pub struct Finished {
    /// Exit code; 128 plus the signal's number for a command that was killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// After how long it was killed, where it did not end by itself.
    pub timed_out: Option<Duration>,
}

impl Finished {
    /// # Errors
    /// When the command did not end by itself: what it said is then no answer.
    pub fn in_time(self, invocation: &Invocation) -> Result<Finished> {
        match self.timed_out {
            None => Ok(self),
            Some(cap) => Err(Failure::unanswered(format!(
                "`{invocation}` gave no answer within {} s",
                cap.as_secs()
            ))
            .hint("docker info   # whether the engine answers at all")
            .into()),
        }
    }
}

/// Runs a command for its answer, for at most `cap`.
///
/// # Errors
/// As [`overhear`], and when it gave no answer in time.
pub fn capture(sh: &Shell, invocation: &Invocation, cap: Duration) -> Result<Finished> {
    overhear(sh, invocation, cap)?.in_time(invocation)
}

/// Runs a command for at most `cap`, then kills it; keeps what it said until
/// then. After a signal it has [`PATIENCE`] to end by itself.
///
/// # Errors
/// When the program can't be started; after a signal as [`interrupted`]. A
/// non-zero exit code is an answer.
pub fn overhear(sh: &Shell, invocation: &Invocation, cap: Duration) -> Result<Finished> {
    let started = Instant::now();
    let mut command = command(sh, invocation);
    // Docker and its plugins are Go: collecting garbage is a fifth of the time of
    // a short question (pkg.go.dev/runtime, GOGC and GOMEMLIMIT).
    if !invocation.exact && env::var_os("GOGC").is_none() && env::var_os("GOMEMLIMIT").is_none() {
        command.env("GOGC", "off").env("GOMEMLIMIT", "500MiB");
    }
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()), invocation)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, ends) = mpsc::channel();
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        let (sender, said) = (sender.clone(), Arc::<Mutex<Vec<u8>>>::default());
        let so_far = said.clone();
        thread::spawn(move || {
            let mut block = [0; 4096];
            // A pipe that breaks ends the answer early; the exit code tells.
            let mut next = |pipe: &mut dyn std::io::Read| match pipe.read(&mut block) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => true,
                Ok(n @ 1..) => {
                    bytes(&so_far).extend_from_slice(&block[..n]);
                    true
                }
                _ => false,
            };
            let _ = pipe.map(|mut pipe| while next(&mut *pipe) {});
            let _ = sender.send(());
        });
        said
    };
    let said = [read(stdout.map(|p| Box::new(p) as _)), read(stderr.map(|p| Box::new(p) as _))];
    let (mut timed_out, mut missing) = (None, 2);
    let mut signalled: Option<Instant> = None;
    while missing > 0 {
        if ends.recv_timeout(Duration::from_millis(50)).is_ok() {
            missing -= 1;
            continue;
        }
        let interrupted = interrupted();
        if interrupted.is_err() {
            signalled.get_or_insert_with(Instant::now);
        }
        let impatient = signalled.is_some_and(|since| since.elapsed() > PATIENCE);
        if impatient || started.elapsed() > cap {
            let _ = child.kill();
            timed_out = Some(cap);
            break;
        }
    }
    let code = exit_code(child.wait()?);
    let [stdout, stderr] = said.map(|said| String::from_utf8_lossy(&bytes(&said)).into_owned());
    interrupted()?;
    Ok(Finished { code, stdout, stderr, timed_out })
}

/// What was read so far; a reader that panicked left nothing half done.
fn bytes(said: &Mutex<Vec<u8>>) -> std::sync::MutexGuard<'_, Vec<u8>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a short command that cleans up, whatever signals came, for at most `cap`.
/// Nobody needs its answer, and how it ends changes nothing.
pub fn tidy(sh: &Shell, invocation: &Invocation, cap: Duration) {
    let started = Instant::now();
    let mut command = command(sh, invocation);
    if let Ok(mut child) = start(command.stdout(Stdio::null()).stderr(Stdio::null()), invocation) {
        while matches!(child.try_wait(), Ok(None)) {
            if started.elapsed() > cap {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn command(sh: &Shell, invocation: &Invocation) -> Command {
    let mut cmd = sh.cmd(&invocation.program).args(&invocation.args);
    // What `cargo run` hands to its children would reach Compose's
    // interpolation and the dynamic linker of what we run.
    let cargos = |key: &str| {
        key.starts_with("CARGO") || key == "RUSTUP_TOOLCHAIN" || key == "RUST_RECURSION_COUNT"
    };
    if env::var_os("CARGO_MANIFEST_DIR").is_some() {
        for key in env::vars_os().filter_map(|(key, _)| key.into_string().ok()) {
            if cargos(&key) || ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"].contains(&&*key) {
                cmd = cmd.env_remove(key);
            }
        }
    }
    cmd.into()
}

fn start(command: &mut Command, invocation: &Invocation) -> Result<Child> {
    let stdin = if invocation.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .spawn()
        .with_context(|| format!("starting `{}`", invocation.program))?;
    if let (Some(text), Some(mut pipe)) = (&invocation.stdin, child.stdin.take()) {
        // A child that ends without reading its input says why by itself.
        let _ = pipe.write_all(text);
    }
    Ok(child)
}

fn exit_code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Invocation {
        Invocation::new("sh", ["-c", script])
    }

    #[test]
    fn capture_brings_both_streams_and_the_code() {
        let shell = Shell::new().unwrap();
        let got =
            capture(&shell, &sh("cat; echo err >&2; exit 3").stdin("in"), Duration::from_secs(10))
                .unwrap();
        assert_eq!((got.code, &*got.stdout, &*got.stderr), (3, "in", "err\n"));
        assert_eq!(capture(&shell, &sh("kill -9 $$"), Duration::from_secs(10)).unwrap().code, 137);
    }

    #[test]
    fn a_command_that_hangs_is_killed_and_named() {
        let error =
            capture(&Shell::new().unwrap(), &sh("exec sleep 60"), Duration::from_millis(50))
                .unwrap_err();
        assert!(error.to_string().contains("gave no answer"), "{error}");
        assert!(crate::error::is_unanswered(&error));
        assert!(!crate::error::is_unanswered(&Failure::new("no").into()));
    }

    #[test]
    fn what_was_said_before_a_hang_is_kept() {
        let script = sh("echo said; echo err >&2; exec sleep 60");
        let cap = Duration::from_secs(1);
        let got = overhear(&Shell::new().unwrap(), &script, cap).unwrap();
        assert_eq!((&*got.stdout, &*got.stderr, got.timed_out), ("said\n", "err\n", Some(cap)));
    }

    #[test]
    fn cleaning_up_takes_no_longer_than_it_may() {
        let started = Instant::now();
        tidy(&Shell::new().unwrap(), &sh("exec sleep 60"), Duration::from_millis(50));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn shown_as_typed() {
        assert_eq!(
            Invocation::new("docker", ["tag", "a b", "it's"]).to_string(),
            r"docker tag 'a b' 'it'\''s'"
        );
    }
}
