//! What goes wrong, said so that the reader knows what to do next.

use std::fmt;

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

fn known(table: &[Known], output: &str) -> Option<Failure> {
    // The same failure comes with a capital from one tool and without from another.
    let said = output.to_lowercase();
    let knows = |marks: &[&str]| marks.iter().any(|mark| said.contains(&mark.to_lowercase()));
    let (_, says, remedy) = table.iter().find(|(marks, ..)| knows(marks))?;
    Some(Failure::new(*says).remedy(remedy))
}

/// The part of a command's output that says why it failed: of a build the end of
/// the step that did, which BuildKit repeats between two rules, and what follows.
/// Other steps may have had troubles that they got over.
fn essence(output: &str) -> &str {
    const RULE: &str = "------\n";
    match output.rmatch_indices(RULE).nth(1) {
        Some((at, _)) => &output[at..],
        None => output,
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

/// A sentence (may be empty) and commands.
pub type Remedy = (&'static str, &'static [&'static str]);

/// What to do on a machine whose card Docker can't hand out.
pub const GPU_REMEDY: Remedy = (
    "install nvidia-container-toolkit on the engine's machine and wire it, as below",
    &[
        "sudo apt-get install nvidia-container-toolkit   # from NVIDIA's own package source",
        "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
        "XTASK_DEVICE=cpu cargo xtask up   # to run on the CPU all the same",
    ],
);

const START_ENGINE: &str = "sudo systemctl start docker   # or start Docker Desktop";

/// What the output contains, what that means, and what to do.
type Known = (&'static [&'static str], &'static str, Remedy);

/// Failures that are the NVIDIA driver's, rather than the engine's way to it.
const DRIVERS: &[Known] = &[
    (
        &["driver/library version mismatch"],
        "the NVIDIA driver was upgraded, but the machine runs the old one",
        ("reboot the engine's machine", &["sudo reboot   # on the engine's machine"]),
    ),
    (
        &["nvml error: driver not loaded", "communicate with the NVIDIA driver"],
        "the NVIDIA driver is not loaded on the engine's machine",
        (
            "install it there, or reboot if it was just installed",
            &["sudo modprobe nvidia && nvidia-smi   # on the engine's machine"],
        ),
    ),
    (
        &["load library failed: libnvidia-ml.so", "couldn't find libnvidia-ml.so"],
        "the engine's machine has no NVIDIA driver, or not its libraries",
        ("install the driver there", &["nvidia-smi   # on the engine's machine"]),
    ),
    (
        &["requirement error: unsatisfied condition"],
        "the NVIDIA driver is older than the image demands (NVIDIA_REQUIRE_CUDA)",
        ("upgrade the driver of the engine's machine", &["nvidia-smi   # its version"]),
    ),
    (
        &["no adapters were found", "GPU access blocked by the operating system"],
        "WSL2 does not pass the GPU on",
        ("upgrade the NVIDIA driver of Windows too", &["wsl --update   # on Windows"]),
    ),
];

/// Failures of docker and of builds that people meet: what the output contains,
/// what that means, and what to do. The first match wins, so the specific stand
/// first.
const KNOWN: &[Known] = &[
    (
        &["could not select device driver", "failed to discover GPU vendor from CDI"],
        "the service asks for an NVIDIA GPU, and the engine cannot hand one out",
        GPU_REMEDY,
    ),
    (
        &["unknown or invalid runtime name: nvidia", "Unknown runtime specified nvidia"],
        "the service asks for the runtime `nvidia`, which the engine does not know",
        GPU_REMEDY,
    ),
    (
        &[
            "nvidia-container-cli: mount error",
            "failed to fulfil mount request",
            "unresolvable CDI devices",
            "libEGL_nvidia.so",
        ],
        "the list of the driver's files for containers (CDI) is out of date",
        (
            "",
            &["sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", "cargo xtask restart"],
        ),
    ),
    (
        &["unable to resolve docker endpoint", "is not found on the file system"],
        "the Docker context that is chosen does not exist",
        (
            "DOCKER_CONTEXT, if set, wins over `docker context use`",
            &["docker context use default", "docker context ls   # those that exist"],
        ),
    ),
    (
        &["permission denied while trying to connect to the"],
        "no permission to talk to the Docker engine",
        ("", &["sudo usermod -aG docker $USER   # then log out and in again"]),
    ),
    (
        &[
            "Cannot connect to the Docker daemon",
            "failed to connect to the docker API",
            "error during connect",
        ],
        "the Docker engine does not answer",
        (
            "",
            &[
                START_ENGINE,
                "docker context ls   # which engine is meant; DOCKER_HOST, if set, wins",
            ],
        ),
    ),
    (
        &[
            "'compose' is not a docker command",
            "unknown command: docker compose",
            "unknown shorthand flag: 'f' in -f",
        ],
        "Docker Compose 2.24 or newer is missing",
        (
            "docs.docker.com/compose/install tells how to install it",
            &["cargo xtask up --setup   # on Debian and Ubuntu"],
        ),
    ),
    (
        &["port is already allocated", "address already in use"],
        "the port that the service publishes is taken by another program",
        ("name a free port in the compose file, or by BACKEND_PORT in .env", &["cargo xtask up"]),
    ),
    (
        &["cannot assign requested address"],
        "the service publishes on an address that the engine's machine does not have",
        ("correct the address in the compose file, or BACKEND_BIND in .env", &["cargo xtask up"]),
    ),
    (
        &["no such image"],
        "an image that the service needs is not on the engine",
        (
            "a service that it depends on may have to be built first",
            &["docker compose build", "cargo xtask up"],
        ),
    ),
    (
        &[
            "dockerfile parse error",
            "failed to parse dockerfile",
            "unknown instruction",
            "failed to read dockerfile",
        ],
        "the Dockerfile has a fault",
        ("the lines above name it", &[]),
    ),
    (
        &[
            "failed to resolve source metadata",
            "pull access denied",
            "failed to do request",
            "failed to authorize",
        ],
        "the base image is neither on the engine nor to be had from its registry",
        (
            "see whether the FROM line and the network are right",
            &["cargo xtask up --setup   # makes Debian's base image without a registry"],
        ),
    ),
    (
        &[
            "Failed to fetch: `",
            "error sending request",
            "connection broken by",
            "Temporary failure in name resolution",
            "Temporary failure resolving",
        ],
        "a package index does not answer",
        ("try again, or name another index by UV_DEFAULT_INDEX in .env", &[]),
    ),
    (
        &["(from versions: none)"],
        "the package index does not know a package, or cannot be used",
        ("the lines above name it; UV_DEFAULT_INDEX in .env names another index", &[]),
    ),
    (
        &[
            "No solution found when resolving",
            "No matching distribution found",
            "not found in the package registry",
        ],
        "a requirement does not exist in that version",
        ("the lines above name it; mend backend/requirements.txt", &[]),
    ),
    (
        &["rpc error: code = Unavailable", "error reading from server: EOF", "graceful_stop"],
        "the Docker engine went away in the middle",
        ("", &[START_ENGINE, "cargo xtask up"]),
    ),
    (
        &["no space left on device"],
        "the disk of the engine's machine is full",
        ("remove what you no longer need there", &["docker system df   # what Docker holds"]),
    ),
    (
        &["is too old. Minimum supported API version"],
        "the engine is newer than this Docker CLI can speak to",
        ("upgrade the Docker CLI and its Compose plugin", &[]),
    ),
];

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
