//! The only module that starts processes.
//!
//! Children get the user's environment less what `cargo run` added to it.

mod invocation;
mod running;
mod signals;

use std::env;
use std::fs::File;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use xshell::Shell;
use xxhash_rust::xxh3::xxh3_64;

pub use self::invocation::Invocation;
use self::running::{OnSignal, Output, run};
pub use self::signals::{interrupted, note_signals, take_signal};
use crate::error::{Failure, Kind};

/// Tells this run of xtask from all others, also on other machines: 16
/// hexadecimal digits.
pub fn run_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let text = format!("{} {:?}", std::process::id(), SystemTime::now());
        format!("{:016x}", xxh3_64(text.as_bytes()))
    })
}

/// What a command left behind.
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
    /// All that it wrote, stdout first.
    pub fn said(&self) -> String {
        self.stdout.clone() + &self.stderr
    }

    /// Fails when the command did not end by itself: its output is then no answer.
    pub fn in_time(self, invocation: &Invocation) -> Result<Finished> {
        let Some(cap) = self.timed_out else { return Ok(self) };
        let seconds = cap.as_secs();
        Err(Failure::new(format!("`{invocation}` gave no answer within {seconds} s"))
            .kind(Kind::NoAnswer)
            .hint("docker info   # whether the engine answers at all")
            .into())
    }

    /// Fails when it ended with another exit code than 0, which the error passes on;
    /// known causes are named. A warning on stderr is no failure.
    pub fn success(self, invocation: &Invocation) -> Result<Finished> {
        if self.code == 0 {
            return Ok(self);
        }
        let said = format!("{}{}", self.stdout, self.stderr);
        Err(Failure::of_command(&invocation.to_string(), self.code, &said).into())
    }
}

/// Asks a question: keeps the output, at most `cap` long, after which the command
/// is killed and its output until then returned. Any exit code is an answer.
/// Fails when the program can't be started; after a signal as [`interrupted`].
pub fn capture(sh: &Shell, invocation: &Invocation, cap: Duration) -> Result<Finished> {
    run(sh, invocation, Output::Kept, OnSignal::End, Some(cap))
}

/// Runs a command with the user's terminal as its own, for one that asks there.
/// It fails as [`Finished::success`], and after a signal as [`interrupted`]; so do
/// the next two.
pub fn on_terminal(sh: &Shell, invocation: &Invocation) -> Result<()> {
    // Ctrl-C in the terminal reaches the child, too.
    let finished = run(sh, invocation, Output::Inherited, OnSignal::Ignore, None)?;
    interrupted()?;
    finished.success(invocation).map(drop)
}

/// Runs a command that the user watches and that Ctrl-C ends.
pub fn shown(sh: &Shell, invocation: &Invocation) -> Result<()> {
    let forward = OnSignal::Forward { grace: Duration::ZERO };
    run(sh, invocation, Output::Shown, forward, None)?.success(invocation).map(drop)
}

/// Runs a command that must not stop halfway. A signal reaches it only after
/// `grace`. With a `log`, it even outlives a killed xtask: it then writes to that
/// file instead of a pipe that would break, and keeps the lock on the file.
pub fn to_its_end(
    sh: &Shell,
    invocation: &Invocation,
    grace: Duration,
    log: Option<&File>,
) -> Result<()> {
    let output = log.map_or(Output::Shown, Output::Logged);
    run(sh, invocation, output, OnSignal::Forward { grace }, None)?.success(invocation).map(drop)
}

/// Runs a short command that cleans up, whatever signals came and however it ends.
pub fn clean_up(sh: &Shell, invocation: &Invocation, cap: Duration) {
    let _ = run(sh, invocation, Output::Kept, OnSignal::Ignore, Some(cap));
}

/// Removes from a child's environment what `cargo run` added: it would reach
/// Compose's interpolation and the dynamic linker.
fn without_cargos_variables(mut cmd: xshell::Cmd) -> xshell::Cmd {
    const OTHERS: [&str; 4] = [
        "RUSTUP_TOOLCHAIN",
        "RUST_RECURSION_COUNT",
        "LD_LIBRARY_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
    ];
    if env::var_os("CARGO_MANIFEST_DIR").is_some() {
        for key in env::vars_os().filter_map(|(key, _)| key.into_string().ok()) {
            if key.starts_with("CARGO") || OTHERS.contains(&&*key) {
                cmd = cmd.env_remove(key);
            }
        }
    }
    cmd
}

fn exit_code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(1)
}
