//! The only room that starts processes.
//!
//! Children get the user's environment less what `cargo run` added to it, and
//! Ctrl-C reaches them first: xtask only notes it, lets the child tidy up, and
//! then ends with 130.

use std::{
    env, fmt,
    io::{Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use xshell::Shell;

use crate::failure::Failure;

/// A command line, ready to be run or to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    program: String,
    args: Vec<String>,
    stdin: Option<Vec<u8>>,
}

impl Invocation {
    /// `program` with `args`, its standard input empty.
    pub fn new<S: Into<String>>(program: &str, args: impl IntoIterator<Item = S>) -> Invocation {
        Invocation {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            stdin: None,
        }
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
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 128 plus the signal's number for a command that was killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command for its answer, for at most `cap`.
///
/// # Errors
/// When the program can't be started, or gave no answer within `cap` (it is
/// then killed). A non-zero exit code is an answer.
pub fn capture(sh: &Shell, invocation: &Invocation, cap: Duration) -> Result<Finished> {
    let started = Instant::now();
    let mut command = command(sh, invocation);
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()), invocation)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, pipes) = mpsc::channel();
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>, which: usize| {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // A pipe that breaks ends the answer early; the exit code tells.
            let _ = pipe.map(|mut p| p.read_to_end(&mut bytes));
            let _ = sender.send((which, String::from_utf8_lossy(&bytes).into_owned()));
        });
    };
    read(stdout.map(|p| Box::new(p) as _), 0);
    read(stderr.map(|p| Box::new(p) as _), 1);
    let mut texts = [String::new(), String::new()];
    for _ in 0..2 {
        match pipes.recv_timeout(cap.saturating_sub(started.elapsed())) {
            Ok((which, text)) => texts[which] = text,
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::new(format!(
                    "`{invocation}` gave no answer within {} s",
                    cap.as_secs()
                ))
                .into());
            }
        }
    }
    let code = exit_code(child.wait()?);
    let [stdout, stderr] = texts;
    interrupted()?;
    Ok(Finished { code, stdout, stderr })
}

/// Runs a command with the user's terminal as its output.
///
/// # Errors
/// When the program can't be started or ends with a non-zero exit code, which
/// the error passes on; with 130 after Ctrl-C.
pub fn stream(sh: &Shell, invocation: &Invocation) -> Result<()> {
    let code = exit_code(start(&mut command(sh, invocation), invocation)?.wait()?);
    interrupted()?;
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::of_command(&invocation.to_string(), code, "").into())
    }
}

/// Runs a command with the user's terminal as its output, and reads along what
/// it writes to stderr, so that the error can name a known cause.
///
/// # Errors
/// As [`stream`].
pub fn stream_and_note(sh: &Shell, invocation: &Invocation) -> Result<()> {
    let mut child = start(command(sh, invocation).stderr(Stdio::piped()), invocation)?;
    let mut noted = Vec::new();
    if let Some(mut pipe) = child.stderr.take() {
        let mut block = [0; 4096];
        while let Ok(n @ 1..) = pipe.read(&mut block) {
            let _ = std::io::stderr().write_all(&block[..n]);
            noted.extend_from_slice(&block[..n]);
        }
    }
    let code = exit_code(child.wait()?);
    interrupted()?;
    if code == 0 {
        return Ok(());
    }
    Err(Failure::of_command(&invocation.to_string(), code, &String::from_utf8_lossy(&noted)).into())
}

/// Fails with exit code 130 once Ctrl-C was pressed.
///
/// # Errors
/// After SIGINT only.
pub fn interrupted() -> Result<()> {
    if sigint().load(Ordering::Relaxed) {
        Err(Failure::new("interrupted").code(130).into())
    } else {
        Ok(())
    }
}

/// Starts to note Ctrl-C instead of dying from it. A handler, unlike an ignored
/// signal, is not inherited: children still end on Ctrl-C.
///
/// # Errors
/// When the operating system refuses the handler.
pub fn note_ctrl_c() -> Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGINT, sigint().clone())
        .context("installing a Ctrl-C handler")?;
    Ok(())
}

fn sigint() -> &'static Arc<AtomicBool> {
    static SIGINT: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    SIGINT.get_or_init(Arc::default)
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
    }

    #[test]
    fn a_stream_passes_the_childs_code_on() {
        let error = stream(&Shell::new().unwrap(), &sh("exit 17")).unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), 17);
    }

    #[test]
    fn shown_as_typed() {
        assert_eq!(
            Invocation::new("docker", ["tag", "a b", "it's"]).to_string(),
            r"docker tag 'a b' 'it'\''s'"
        );
    }
}
