//! What goes wrong, said so that the reader knows what to do next.

use std::fmt;

/// An error with its exit code and the commands that mend it.
///
/// The message is lowercase and without a full stop; each hint is one runnable
/// command or one short sentence, printed on a line of its own.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hints: Vec<String>,
    code: i32,
    cause: Option<anyhow::Error>,
}

impl Failure {
    /// A failure that ends xtask with exit code 1.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hints: Vec::new(), code: 1, cause: None }
    }

    /// Adds what to run or to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
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

    /// What to run or to do next, in the order in which to try.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// A docker command that ended with `code`, having written `stderr`; known
    /// failures are said in the user's words.
    pub fn of_command(command: &str, code: i32, stderr: &str) -> Failure {
        if let Some((_, says, hints)) =
            KNOWN.iter().find(|(marks, ..)| marks.iter().any(|m| stderr.contains(m)))
        {
            let failure = Failure::new(*says).code(code);
            return hints.iter().fold(failure, |f, hint| f.hint(*hint));
        }
        let last = stderr.trim().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        Failure::new(format!("`{command}` exited with {code}{last}")).code(code)
    }
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

/// What to do on a machine whose card Docker can't hand out.
pub const GPU_REMEDIES: [&str; 3] = [
    "install nvidia-container-toolkit on the engine's machine",
    "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
    "XTASK_DEVICE=cpu cargo xtask up   # to run on the CPU all the same",
];

/// Failures of docker that people meet: what its output contains, what that
/// means, and what to do. The first match wins, so the specific stand first.
const KNOWN: &[(&[&str], &str, &[&str])] = &[
    (
        &["could not select device driver \"nvidia\"", "failed to discover GPU vendor from CDI"],
        "the service asks for an NVIDIA GPU, and the engine cannot hand one out",
        &GPU_REMEDIES,
    ),
    (
        &[
            "permission denied while trying to connect to the Docker daemon",
            "permission denied while trying to connect to the docker API",
        ],
        "no permission to talk to the Docker engine",
        &["sudo usermod -aG docker $USER   # then log out and in again"],
    ),
    (
        &[
            "Cannot connect to the Docker daemon",
            "failed to connect to the docker API",
            "error during connect",
        ],
        "the Docker engine does not answer",
        &[
            "sudo systemctl start docker   # or start Docker Desktop",
            "docker context ls   # which engine is meant; DOCKER_HOST, if set, wins",
        ],
    ),
    (
        &[
            "'compose' is not a docker command",
            "unknown command: docker compose",
            "unknown shorthand flag: 'f' in -f",
            "unknown flag: --dry-run",
        ],
        "Docker Compose 2.24 or newer is missing",
        &["docs.docker.com/compose/install, or on Debian and Ubuntu: cargo xtask up --setup"],
    ),
    (
        &["port is already allocated", "address already in use"],
        "the port that the service publishes is taken by another program",
        &["set BACKEND_PORT to a free port in .env, then: cargo xtask restart"],
    ),
    (
        &[
            "dockerfile parse error",
            "failed to parse dockerfile",
            "unknown instruction",
            "failed to read dockerfile",
        ],
        "the Dockerfile is not one",
        &["the lines above name its faulty line"],
    ),
    (
        &[
            "failed to resolve source metadata",
            "pull access denied",
            "failed to do request",
            "failed to authorize",
        ],
        "the base image is neither on the engine nor to be had from its registry",
        &[
            "docker pull tells why; on Debian and Ubuntu `cargo xtask up --setup` makes one without a registry",
        ],
    ),
    (
        &[
            "No solution found when resolving",
            "No matching distribution found",
            "not found in the package registry",
        ],
        "a requirement does not exist in that version",
        &["the lines above name it; mend backend/requirements.txt"],
    ),
    (
        &[
            "Failed to fetch: `",
            "error sending request",
            "Temporary failure in name resolution",
            "Temporary failure resolving",
        ],
        "the package index does not answer",
        &["try again, or name another index: UV_DEFAULT_INDEX in .env"],
    ),
    (
        &["rpc error: code = Unavailable", "error reading from server: EOF", "graceful_stop"],
        "the Docker engine went away in the middle",
        &["sudo systemctl start docker   # or start Docker Desktop"],
    ),
    (
        &["no space left on device"],
        "the disk of the engine's machine is full",
        &["docker system df shows what Docker holds there"],
    ),
    (
        &["client version", "is too old. Minimum supported API version"],
        "the engine is newer than this Docker CLI can speak to",
        &["upgrade the Docker CLI and its Compose plugin"],
    ),
];

/// Renders an error chain for the terminal: the failure, its causes one a line
/// beneath it, and the hints of all of them last.
pub fn render(error: &anyhow::Error) -> String {
    let mut chain = error.chain();
    let mut text =
        format!("error: {}\n", chain.next().map(ToString::to_string).unwrap_or_default());
    for cause in chain {
        text += &format!("  because: {cause}\n");
    }
    for hint in
        error.chain().filter_map(|cause| cause.downcast_ref::<Failure>()).flat_map(|f| &f.hints)
    {
        text += &format!("hint: {hint}\n");
    }
    text
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
    fn unknown_failures_name_command_code_and_last_line() {
        let error = anyhow::Error::from(Failure::of_command(
            "docker compose build backend",
            17,
            "a\nlast words\n",
        ))
        .context("building `backend`");
        assert_eq!(
            render(&error),
            "error: building `backend`\n  because: `docker compose build backend` exited with 17: last words\n"
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
