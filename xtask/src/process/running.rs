//! The one loop that waits for a child: it reads the output, minds the time, and
//! passes signals on.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context as _, Result};
use xshell::Shell;

use super::{Finished, Invocation, exit_code, interrupted, signals, without_cargos_variables};

/// Between two looks at a child whose output has ended.
const TICK: Duration = Duration::from_millis(5);

/// How long a question may go on after a signal; most are answered sooner.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a pipe may stay open after its child ended: what the child left in the
/// background, as ssh does, may hold it for ever.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes of shown output that are kept to name the cause of a failure.
const KEPT: usize = 16 * 1024;

/// Where a child's output goes.
#[derive(Clone, Copy)]
pub(super) enum Output<'a> {
    /// To the caller, whole.
    Kept,
    /// To the terminal as it comes, and its end to the caller.
    Shown,
    /// The same by way of a file that the child keeps open.
    Logged(&'a File),
    /// The terminal is the child's own.
    Inherited,
}

/// What SIGINT and its like do while a child runs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum OnSignal {
    /// The child has [`PATIENCE`] to end by itself.
    End,
    /// The child, in a process group of its own, hears of the first signal after
    /// `grace`, of the second at once, and is killed at the third.
    Forward { grace: Duration },
    /// It goes on to its end.
    Ignore,
}

/// Runs a command to its end, or to `cap`.
/// Fails when it can't be started; after a signal, unless that is ignored.
pub(super) fn run(
    sh: &Shell,
    invocation: &Invocation,
    output: Output,
    on_signal: OnSignal,
    cap: Option<Duration>,
) -> Result<Finished> {
    let started = Instant::now();
    // Before the child can write to it.
    let mut log = Tail::of(output)?;
    let mut child = spawn(sh, invocation, output, on_signal)?;
    let (sender, ended) = mpsc::channel();
    let shows = matches!(output, Output::Shown);
    let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let mut open = usize::from(stdout.is_some()) + usize::from(stderr.is_some());
    let stdout = read(stdout, shows.then(|| Box::new(std::io::stdout()) as _), sender.clone());
    let stderr = read(stderr, shows.then(|| Box::new(std::io::stderr()) as _), sender);
    let (mut signals, mut timed_out) = (Signals::default(), None);
    let mut exited: Option<Instant> = None;
    loop {
        if open > 0 && ended.recv_timeout(TICK).is_ok() {
            open -= 1;
        }
        let status = child.try_wait()?;
        log.read_on();
        if status.is_some() {
            let since = *exited.get_or_insert_with(Instant::now);
            // A terminal may be stopped and read on later; an answer is complete.
            let answered = matches!(output, Output::Kept) && since.elapsed() > LINGER;
            if open == 0 || answered || interrupted().is_err() {
                break;
            }
            continue;
        }
        if signals.end(&child, on_signal) || cap.is_some_and(|cap| started.elapsed() > cap) {
            let _ = child.kill();
            timed_out = Some(cap.unwrap_or_default());
            break;
        }
        if open == 0 {
            thread::sleep(TICK);
        }
    }
    let code = exit_code(child.wait()?);
    log.read_on();
    signals.put_back();
    if on_signal != OnSignal::Ignore {
        interrupted()?;
    }
    let stderr = log.text + &text(&stderr);
    Ok(Finished { code, stdout: text(&stdout), stderr, timed_out })
}

fn spawn(
    sh: &Shell,
    invocation: &Invocation,
    output: Output,
    on_signal: OnSignal,
) -> Result<Child> {
    let command = sh.cmd(&invocation.program).args(&invocation.args);
    let mut command = Command::from(without_cargos_variables(command));
    match output {
        Output::Kept | Output::Shown => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        Output::Logged(file) => command.stdout(file.try_clone()?).stderr(file.try_clone()?),
        Output::Inherited => &mut command,
    };
    // Docker and its plugins are Go: collecting garbage is a fifth of the time of
    // a short question (pkg.go.dev/runtime, GOGC and GOMEMLIMIT).
    let tunable = env::var_os("GOGC").is_none() && env::var_os("GOMEMLIMIT").is_none();
    if matches!(output, Output::Kept) && tunable && !invocation.exact_environment {
        command.env("GOGC", "off").env("GOMEMLIMIT", "500MiB");
    }
    #[cfg(unix)]
    if matches!(on_signal, OnSignal::Forward { .. }) {
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
    }
    // On Windows all processes of a console hear of its Ctrl-C.
    #[cfg(not(unix))]
    let _ = on_signal;
    let stdin = match (&invocation.stdin, output) {
        (Some(_), _) => Stdio::piped(),
        (None, Output::Inherited) => Stdio::inherit(),
        (None, _) => Stdio::null(),
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

/// Reads a pipe to its end on a thread of its own, and then says so.
fn read(
    pipe: Option<Box<dyn Read + Send>>,
    mut show: Option<Box<dyn Write + Send>>,
    ended: mpsc::Sender<()>,
) -> Arc<Mutex<Vec<u8>>> {
    let so_far = Arc::<Mutex<Vec<u8>>>::default();
    let Some(mut pipe) = pipe else { return so_far };
    let bytes = so_far.clone();
    thread::spawn(move || {
        let mut block = [0; 4096];
        loop {
            match pipe.read(&mut block) {
                Ok(n @ 1..) => {
                    if let Some(show) = &mut show {
                        let _ = show.write_all(&block[..n]).and_then(|()| show.flush());
                    }
                    let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                    bytes.extend_from_slice(&block[..n]);
                    let surplus = bytes.len().saturating_sub(KEPT);
                    if show.is_some() && surplus > KEPT {
                        bytes.drain(..surplus);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let _ = ended.send(());
    });
    so_far
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// What a child appends to a log, passed on to stderr.
struct Tail<'a> {
    log: Option<&'a File>,
    at: u64,
    text: String,
}

impl<'a> Tail<'a> {
    fn of(output: Output<'a>) -> Result<Tail<'a>> {
        let log = if let Output::Logged(file) = output { Some(file) } else { None };
        let at = log.map_or(Ok(0), |log| log.metadata().map(|metadata| metadata.len()))?;
        Ok(Tail { log, at, text: String::new() })
    }

    fn read_on(&mut self) {
        let Some(log) = self.log else { return };
        loop {
            let new = written_since(log, self.at);
            if new.is_empty() {
                return;
            }
            self.at += new.len() as u64;
            let _ = std::io::stderr().write_all(&new);
            self.text += &String::from_utf8_lossy(&new);
        }
    }
}

/// Reads a file from `at` on, without moving the child's own position in it.
#[cfg(unix)]
fn written_since(file: &File, at: u64) -> Vec<u8> {
    let mut block = vec![0; 4096];
    let length = std::os::unix::fs::FileExt::read_at(file, &mut block, at).unwrap_or_default();
    block.truncate(length);
    block
}

/// On Windows a locked file cannot be read, and so no log is used.
#[cfg(not(unix))]
fn written_since(_file: &File, _at: u64) -> Vec<u8> {
    Vec::new()
}

/// The signals that came while a child ran.
#[derive(Default)]
struct Signals {
    count: u32,
    /// The last one and its time.
    last: Option<(usize, Instant)>,
    /// How many of them the child was told.
    told: u32,
}

impl Signals {
    /// Minds a new signal; whether the child has to be killed for it.
    fn end(&mut self, child: &Child, on_signal: OnSignal) -> bool {
        let OnSignal::Forward { grace } = on_signal else {
            // Only read, since several questions are asked at once.
            if on_signal == OnSignal::Ignore || signals::last() == 0 {
                return false;
            }
            let (_, since) = *self.last.get_or_insert((0, Instant::now()));
            return since.elapsed() > PATIENCE;
        };
        let number = signals::take();
        if number != 0 {
            self.count += 1;
            self.last = Some((number, Instant::now()));
            // On Windows docker has heard of it, too, and may stop.
            if self.count == 1 && !grace.is_zero() && cfg!(unix) {
                warn!("finishing this step first; stopping now would leave no running service");
            }
        }
        if let Some((signal, came)) = self.last
            && self.told < self.count
            && (self.count > 1 || came.elapsed() >= grace)
        {
            self.told = self.count;
            signal_group(child, if self.count > 2 { 9 } else { signal });
        }
        false
    }

    /// Notes the last one again, for the code that asks next.
    fn put_back(&self) {
        if let Some((number @ 1.., _)) = self.last {
            signals::put_back(number);
        }
    }
}

/// By the shell's own `kill`, since a small system has no other. On Windows the
/// console itself tells every process.
fn signal_group(child: &Child, signal: usize) {
    if cfg!(unix) {
        let kill = format!("kill -{signal} -{}", child.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }
}

#[cfg(all(test, unix))]
#[path = "../../tests/unit/running.rs"]
mod tests;
