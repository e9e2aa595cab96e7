//! What goes wrong, said so that the reader knows what to do next.

mod known;

use std::fmt;

use self::known::{DRIVERS, KNOWN, essence, known};
pub use self::known::{GPU_REMEDY, Remedy};

/// An error with its exit code, and what to do about it.
///
/// The message is lowercase and without a full stop. Advice is one sentence;
/// hints are commands to run, in order. Each gets a line of its own.
#[derive(Debug)]
pub struct Failure {
    message: String,
    advice: Option<String>,
    hints: Vec<String>,
    code: i32,
    /// Whether somebody gave no answer, which says nothing about what was asked.
    unanswered: bool,
    cause: Option<anyhow::Error>,
}

impl Failure {
    /// A failure that ends xtask with exit code 1.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            advice: None,
            hints: Vec::new(),
            code: 1,
            unanswered: false,
            cause: None,
        }
    }

    /// The same of somebody who gave no answer in time.
    pub fn unanswered(message: impl Into<String>) -> Failure {
        Failure { unanswered: true, ..Failure::new(message) }
    }

    /// Adds a command to run.
    pub fn hint(mut self, command: impl Into<String>) -> Failure {
        self.hints.push(command.into());
        self
    }

    /// Says what to do where no command does it.
    pub fn advice(mut self, sentence: impl Into<String>) -> Failure {
        self.advice = Some(sentence.into());
        self
    }

    /// Names the cause. Unlike `anyhow`'s context it keeps this failure's hints
    /// in the chain.
    pub fn because(mut self, cause: anyhow::Error) -> Failure {
        self.code = exit_code(&cause);
        self.cause = Some(cause);
        self
    }

    /// Passes on the exit code of the child that failed, or 2 for wrong usage.
    pub fn code(mut self, code: i32) -> Failure {
        self.code = code;
        self
    }

    /// A command that ended with `code`, having written `output`; known failures
    /// of docker are said in the user's words.
    pub fn of_command(command: &str, code: i32, output: &str) -> Failure {
        let said = essence(output);
        if let Some(failure) = Failure::of_driver(said).or_else(|| known(KNOWN, said)) {
            return failure.code(code);
        }
        let last = output.trim().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        Failure::new(format!("`{command}` exited with {code}{last}")).code(code)
    }

    /// What the NVIDIA driver is to blame for, none where it is not.
    pub fn of_driver(output: &str) -> Option<Failure> {
        known(DRIVERS, output)
    }

    /// Whether something is known to do about it.
    pub fn is_known(&self) -> bool {
        self.advice.is_some() || !self.hints.is_empty()
    }

    /// Adds a known remedy.
    pub fn remedy(self, (advice, commands): &Remedy) -> Failure {
        let failure = if advice.is_empty() { self } else { self.advice(*advice) };
        commands.iter().fold(failure, |failure, command| failure.hint(*command))
    }
}

/// All advice and all commands along an error's chain.
pub fn remedies(error: &anyhow::Error) -> (Vec<String>, Vec<String>) {
    let failures = || error.chain().filter_map(|cause| cause.downcast_ref::<Failure>());
    let advice = failures().filter_map(|failure| failure.advice.clone()).collect();
    (advice, failures().flat_map(|failure| failure.hints.clone()).collect())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| -> &(dyn std::error::Error + 'static) { cause.as_ref() })
    }
}

/// Renders an error chain for the terminal: the failure, its causes one a line
/// beneath it, and what to do last.
pub fn render(error: &anyhow::Error) -> String {
    let mut chain = error.chain();
    let mut text =
        format!("error: {}\n", chain.next().map(ToString::to_string).unwrap_or_default());
    for cause in chain {
        text += &format!("  because: {cause}\n");
    }
    let (advice, mut commands) = remedies(error);
    if advice.is_empty() && commands.is_empty() {
        commands.push("cargo xtask doctor".to_owned());
    }
    for hint in advice.iter().chain(&commands) {
        text += &format!("hint: {hint}\n");
    }
    text
}

/// An error and its causes in one line.
pub fn line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether there was no answer, or none that can be read.
pub fn is_unanswered(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<serde_json::Error>()
            || cause.downcast_ref().is_some_and(|failure: &Failure| failure.unanswered)
    })
}

/// The exit code an error ends xtask with.
pub fn exit_code(error: &anyhow::Error) -> i32 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(1, |failure| failure.code)
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
            "error: building `backend`\n  because: `docker compose build backend` exited with 17: last words\nhint: cargo xtask doctor\n"
        );
        assert_eq!(exit_code(&error), 17);
    }

    #[test]
    fn hints_come_last_and_a_plain_error_is_one() {
        let error = Err::<(), _>(Failure::new("inner").hint("do this").code(2))
            .context("outer")
            .unwrap_err();
        assert_eq!(render(&error), "error: outer\n  because: inner\nhint: do this\n");
        assert_eq!(exit_code(&error), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("plain")), 1);
        let error = Failure::new("outer").hint("first").because(error).into();
        assert_eq!(render(&error).matches("hint: ").count(), 2);
        assert_eq!(exit_code(&error), 2);
    }
}
