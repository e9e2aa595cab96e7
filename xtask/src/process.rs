//! The only room that starts processes.
//!
//! Children get the user's environment less what `cargo run` added to it. On
//! Ctrl-C xtask lets the child under way tidy up before it ends itself.

use std::{
    env, fmt,
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use xshell::Shell;
use xxhash_rust::xxh3::xxh3_64;

use crate::failure::Failure;

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

    /// The same with more arguments.
    pub fn and<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Invocation {
        self.args.extend(args.into_iter().map(Into::into));
        self
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
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 128 plus the signal's number for a command that was killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command for its answer, for at most `cap`. After a signal it has
/// [`PATIENCE`] to end by itself.
///
/// # Errors
/// When the program can't be started, or gave no answer in time (it is then
/// killed). A non-zero exit code is an answer. After a signal as [`interrupted`].
pub fn capture(sh: &Shell, invocation: &Invocation, cap: Duration) -> Result<Finished> {
    let started = Instant::now();
    let mut command = command(sh, invocation);
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()), invocation, None)?;
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
    let (mut texts, mut missing) = ([String::new(), String::new()], 2);
    let mut signalled: Option<Instant> = None;
    while missing > 0 {
        if let Ok((which, text)) = pipes.recv_timeout(Duration::from_millis(50)) {
            texts[which] = text;
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
            let _ = child.wait();
            interrupted?;
            return Err(Failure::new(format!(
                "`{invocation}` gave no answer within {} s",
                cap.as_secs()
            ))
            .hint("docker info   # whether the engine answers at all")
            .into());
        }
    }
    let code = exit_code(child.wait()?);
    let [stdout, stderr] = texts;
    interrupted()?;
    Ok(Finished { code, stdout, stderr })
}

/// Runs a short command that cleans up, whatever signals came. Nobody waits for
/// its answer, and how it ends changes nothing.
pub fn tidy(sh: &Shell, invocation: &Invocation) {
    let mut command = command(sh, invocation);
    if let Ok(mut child) =
        start(command.stdout(Stdio::null()).stderr(Stdio::null()), invocation, None)
    {
        let _ = child.wait();
    }
}

/// Runs a command with the user's terminal as its own, for one that asks there.
///
/// # Errors
/// When the program can't be started or ends with a non-zero exit code, which
/// the error passes on; after a signal as [`interrupted`].
pub fn stream(sh: &Shell, invocation: &Invocation) -> Result<()> {
    let code = exit_code(start(&mut command(sh, invocation), invocation, None)?.wait()?);
    interrupted()?;
    if code == 0 {
        return Ok(());
    }
    Err(Failure::of_command(&invocation.to_string(), code, "").into())
}

/// Runs a command, passes on what it writes, and reads along, so that the error
/// can name a known cause.
///
/// It runs in a process group of its own, so that Ctrl-C reaches it by way of
/// xtask alone: once, and only after `grace`, in which it may end by itself. It
/// keeps `held` open, and the lock on it, also where xtask is killed.
///
/// # Errors
/// As [`stream`].
pub fn stream_and_note(
    sh: &Shell,
    invocation: &Invocation,
    grace: Duration,
    held: Option<&File>,
) -> Result<()> {
    let mut command = command(sh, invocation);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start(piped, invocation, held)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (code, noted) = thread::scope(|scope| -> Result<_> {
        let out =
            scope.spawn(|| stdout.map(|pipe| pass_on(pipe, std::io::stdout())).unwrap_or_default());
        let err =
            scope.spawn(|| stderr.map(|pipe| pass_on(pipe, std::io::stderr())).unwrap_or_default());
        let code = exit_code(outwait(&mut child, grace)?);
        Ok((code, out.join().unwrap_or_default() + &err.join().unwrap_or_default()))
    })?;
    interrupted()?;
    if code == 0 {
        return Ok(());
    }
    Err(Failure::of_command(&invocation.to_string(), code, &noted).into())
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

/// Waits for a child, and tells its process group of a signal `grace` after it came.
fn outwait(child: &mut Child, grace: Duration) -> Result<ExitStatus> {
    let mut noticed: Option<Instant> = None;
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let signal = signal().load(Ordering::Relaxed);
        if signal != 0 && noticed.is_none() {
            noticed = Some(Instant::now());
            if !grace.is_zero() {
                warn!("finishing this step first, it takes seconds");
            }
        }
        if !told && noticed.is_some_and(|noticed| noticed.elapsed() >= grace) {
            told = true;
            // On Windows the console tells all of its processes.
            #[cfg(unix)]
            Command::new("kill")
                .args([format!("-{signal}"), "--".to_owned(), format!("-{}", child.id())])
                .status()?;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Fails once SIGINT (Ctrl-C), SIGTERM or SIGHUP came, with exit code 128 plus
/// the signal's number.
///
/// # Errors
/// After a signal only.
pub fn interrupted() -> Result<()> {
    match signal().load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Failure::new("interrupted")
            .code(128 + signal as i32)
            .hint("cargo xtask status   # where things stand")
            .into()),
    }
}

/// Takes note of a signal that came, so that what puts things right again can
/// run, and a second one end it; whether there was one.
pub fn take_signal() -> bool {
    signal().swap(0, Ordering::Relaxed) != 0
}

/// Starts to note these signals instead of dying from them. A handler,
/// unlike an ignored signal, is not inherited: children still end.
///
/// # Errors
/// When the operating system refuses the handler.
pub fn note_signals() -> Result<()> {
    let signals = [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        // A terminal that went away, as with a connection that broke.
        #[cfg(unix)]
        signal_hook::consts::SIGHUP,
    ];
    for number in signals {
        signal_hook::flag::register_usize(number, signal().clone(), number as usize)
            .context("installing a signal handler")?;
    }
    Ok(())
}

/// The number of the last signal that came, or 0.
fn signal() -> &'static Arc<AtomicUsize> {
    static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    SIGNAL.get_or_init(Arc::default)
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

/// Starts a child. One that reads nothing can keep a file open: as its standard
/// input, which stands at the file's end.
fn start(command: &mut Command, invocation: &Invocation, held: Option<&File>) -> Result<Child> {
    let stdin = match held {
        _ if invocation.stdin.is_some() => Stdio::piped(),
        // On Windows nobody could read on beyond another's lock.
        Some(file) if cfg!(unix) => file.try_clone()?.into(),
        _ => Stdio::null(),
    };
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
    fn streams_pass_the_childs_code_on_and_know_causes() {
        let shell = Shell::new().unwrap();
        let error = stream(&shell, &sh("exit 17")).unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), 17);
        let noted = sh("echo out; echo 'port is already allocated' >&2; exit 3");
        let error = stream_and_note(&shell, &noted, Duration::ZERO, None).unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), 3);
        assert!(error.to_string().contains("taken by another program"), "{error}");
        stream_and_note(&shell, &sh("true"), Duration::ZERO, None).unwrap();
    }

    #[test]
    fn shown_as_typed() {
        assert_eq!(
            Invocation::new("docker", ["tag", "a b", "it's"]).to_string(),
            r"docker tag 'a b' 'it'\''s'"
        );
    }
}
