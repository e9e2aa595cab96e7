//! Errors: what failed, of which kind, and what fixes it.

mod known;

use std::fmt;

use self::known::{DRIVERS, KNOWN, essence, lookup};
pub use self::known::{GPU_REMEDY, last_line};

/// What tells one failure from another: code never looks into a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Other,
    /// No answer in time, or one that cannot be read. Nothing is known to be wrong.
    NoAnswer,
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// The Docker engine is stopped or cannot be reached.
    EngineDown,
    /// The compose file names an env file that does not exist.
    EnvFileMissing,
    PortTaken,
    /// The NVIDIA driver is at fault, not the engine's way to it.
    Driver,
}

/// What fixes a failure: a sentence, commands to run in order, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remedy {
    /// May be empty; several sentences stand on a line each.
    pub text: String,
    pub commands: Vec<String>,
}

impl Remedy {
    pub fn new(text: &str, commands: &[&str]) -> Remedy {
        Remedy { text: text.into(), commands: commands.iter().map(ToString::to_string).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.commands.is_empty()
    }

    /// Adds another remedy, less the commands that are there already.
    fn and(mut self, other: &Remedy) -> Remedy {
        if !self.text.is_empty() && !other.text.is_empty() {
            self.text.push('\n');
        }
        self.text += &other.text;
        for command in &other.commands {
            let bare = command.split("   #").next();
            if self.commands.iter().all(|known| known.split("   #").next() != bare) {
                self.commands.push(command.clone());
            }
        }
        self
    }
}

/// An error with its kind, its exit code, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    remedy: Remedy,
    code: i32,
    cause: Option<anyhow::Error>,
}

impl Failure {
    /// With exit code 1. The message is lowercase and has no full stop.
    pub fn new(message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure { kind: Kind::Other, message, remedy: Remedy::default(), code: 1, cause: None }
    }

    pub fn kind(self, kind: Kind) -> Failure {
        Failure { kind, ..self }
    }

    pub fn hint(mut self, command: impl Into<String>) -> Failure {
        self.remedy.commands.push(command.into());
        self
    }

    /// Adds a sentence, where no command does it.
    pub fn advice(self, sentence: impl Into<String>) -> Failure {
        self.remedy(&Remedy { text: sentence.into(), commands: Vec::new() })
    }

    pub fn remedy(self, remedy: &Remedy) -> Failure {
        Failure { remedy: self.remedy.and(remedy), ..self }
    }

    /// Names the cause, whose exit code is passed on.
    pub fn because(self, cause: anyhow::Error) -> Failure {
        Failure { code: exit_code(&cause), cause: Some(cause), ..self }
    }

    /// Sets the exit code: that of the child that failed, or 2 for wrong usage.
    pub fn code(self, code: i32) -> Failure {
        Failure { code, ..self }
    }

    /// A command that ended with `code` and wrote `output`, in the user's words if [`known`].
    pub fn of_command(command: &str, code: i32, output: &str) -> Failure {
        let said = essence(output);
        let unknown = || {
            let last = last_line(output).map(|line| format!(": {line}"));
            Failure::new(format!("`{command}` exited with {code}{}", last.unwrap_or_default()))
        };
        lookup(DRIVERS, said).or_else(|| lookup(KNOWN, said)).unwrap_or_else(unknown).code(code)
    }

    /// The fault of the NVIDIA driver that the output tells of, if any.
    pub fn of_driver(output: &str) -> Option<Failure> {
        lookup(DRIVERS, output)
    }

    pub fn is_known(&self) -> bool {
        !self.remedy.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

fn failures(error: &anyhow::Error) -> impl DoubleEndedIterator<Item = &Failure> {
    error.chain().filter_map(|cause| cause.downcast_ref())
}

/// The first special kind along an error's chain.
pub fn kind(error: &anyhow::Error) -> Kind {
    if error.chain().any(|cause| cause.is::<serde_json::Error>()) {
        return Kind::NoAnswer;
    }
    let mut kinds = failures(error).map(|failure| failure.kind);
    kinds.find(|kind| *kind != Kind::Other).unwrap_or_default()
}

/// All remedies along an error's chain as one: what fixes the cause comes first.
pub fn remedy(error: &anyhow::Error) -> Remedy {
    failures(error).rev().fold(Remedy::default(), |all, failure| all.and(&failure.remedy))
}

pub fn exit_code(error: &anyhow::Error) -> i32 {
    failures(error).next().map_or(1, |failure| failure.code)
}

/// An error for the terminal: the failure, its causes, and after a blank line what to do.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        text += &format!("  because: {cause}\n");
    }
    let mut remedy = remedy(error);
    if remedy.is_empty() {
        remedy.commands.push("cargo xtask doctor".to_owned());
    }
    text.push('\n');
    for hint in remedy.text.lines().chain(remedy.commands.iter().map(String::as_str)) {
        text += &format!("hint: {hint}\n");
    }
    text
}

#[cfg(test)]
#[path = "../../tests/unit/error.rs"]
mod tests;
