//! Errors: what failed, of which kind, and what mends it.

mod known;

use std::fmt;

pub use self::known::GPU_REMEDY;
use self::known::{DRIVERS, KNOWN, essence, lookup};

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

/// What mends a failure: a sentence, commands to run in order, or both.
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
            let last = output.trim().lines().last().map(|line| format!(": {line}"));
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

/// All remedies along an error's chain as one: what mends the cause comes first.
pub fn remedy(error: &anyhow::Error) -> Remedy {
    failures(error).rev().fold(Remedy::default(), |all, failure| all.and(&failure.remedy))
}

pub fn exit_code(error: &anyhow::Error) -> i32 {
    failures(error).next().map_or(1, |failure| failure.code)
}

/// An error and its causes in one line.
pub fn line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn known_failures_are_said_in_the_users_words() {
        for (stderr, says) in [
            (
                "Error response from daemon: could not select device driver \"nvidia\" with capabilities: [[gpu]]",
                "cannot hand one out",
            ),
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                "does not answer",
            ),
            (
                "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
                "no permission",
            ),
            ("docker: 'compose' is not a docker command.", "Compose 2.24 or newer is missing"),
            (
                "Bind for 127.0.0.1:8000 failed: port is already allocated",
                "taken by another program",
            ),
            ("write /x: no space left on device", "full"),
            (
                "Failed to initialize: unable to resolve docker endpoint: context \"x\": context not found: open /x/meta.json: no such file or directory",
                "context that is chosen does not exist",
            ),
            (
                "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown.",
                "runs the old one",
            ),
            (
                "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
                "not loaded",
            ),
            (
                "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory: unknown.",
                "no NVIDIA driver",
            ),
            (
                "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda container: unknown.",
                "older than the image demands",
            ),
            (
                "nvidia-container-cli: initialization error: WSL environment detected but no adapters were found: unknown.",
                "WSL2",
            ),
            (
                "error during container init: failed to fulfil mount request: open /usr/lib/x86_64-linux-gnu/libEGL_nvidia.so.535.161.07: no such file or directory",
                "out of date",
            ),
            (
                "could not apply CDI: failed to inject CDI devices: unresolvable CDI devices nvidia.com/gpu=all: unknown.",
                "out of date",
            ),
            (
                "docker: Error response from daemon: unknown or invalid runtime name: nvidia",
                "runtime `nvidia`",
            ),
            (
                "Error response from daemon: client version 1.41 is too old. Minimum supported API version is 1.44",
                "newer than",
            ),
        ] {
            let error = anyhow::Error::from(Failure::of_command("docker x", 1, stderr));
            let text = render(&error);
            assert!(text.contains(says) && text.contains("\nhint: "), "{stderr}\n{text}");
        }
    }

    #[test]
    fn a_trouble_that_a_build_got_over_is_no_cause() {
        let output = "#5 WARNING: Retrying after connection broken by 'x'\n#7 gcc: error\n------\n > RUN gcc:\n\
                      gcc: no space left on device\n------\nfailed to solve: exit code: 1\n";
        assert!(Failure::of_command("x", 1, output).to_string().contains("disk"), "{output}");
        assert_eq!(essence("one line"), "one line");
    }

    #[test]
    fn unknown_failures_name_command_code_and_last_line() {
        let error = anyhow::Error::from(Failure::of_command(
            "docker compose build backend",
            17,
            "a\nlast words\n",
        ))
        .context("building `backend`");
        assert_eq!(
            render(&error),
            "error: building `backend`\n  because: `docker compose build backend` exited with 17: last words\n\nhint: cargo xtask doctor\n"
        );
        assert_eq!(exit_code(&error), 17);
    }

    #[test]
    fn hints_come_last_and_a_plain_error_is_one() {
        let error = Err::<(), _>(Failure::new("inner").hint("do this").code(2))
            .context("outer")
            .unwrap_err();
        assert_eq!(render(&error), "error: outer\n  because: inner\n\nhint: do this\n");
        assert_eq!(exit_code(&error), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("plain")), 1);
        let error = Failure::new("outer").hint("first").because(error).into();
        assert_eq!(render(&error).matches("hint: ").count(), 2);
        assert_eq!(exit_code(&error), 2);
    }

    #[test]
    fn a_failure_has_one_kind_and_all_its_remedies() {
        let failure = || Failure::new("outer").advice("One.").advice("Two.").advice("").hint("x");
        assert!(failure().is_known() && !Failure::new("inner").is_known());
        let error = failure().because(Failure::new("inner").kind(Kind::PortTaken).into()).into();
        assert_eq!(kind(&error), Kind::PortTaken);
        assert_eq!(remedy(&error), Remedy::new("One.\nTwo.", &["x"]));
        assert_eq!(kind(&failure().into()), Kind::Other);
        assert!(Failure::of_driver("NVML error: driver not loaded").is_some());
        assert!(Failure::of_driver("port is already allocated").is_none());
    }
}
