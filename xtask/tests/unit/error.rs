//! Tests of `error`.

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
        ("Bind for 127.0.0.1:8000 failed: port is already allocated", "taken by another program"),
        ("write /x: no space left on device", "full"),
        ("project name must not be empty", "no name"),
        ("ERROR: no builder \"gone\" found", "does not exist"),
        (
            "mkdir /home/me/.docker/buildx/instances: permission denied",
            "cannot write its own files",
        ),
        ("compose build requires buildx 0.17 or later", "newer buildx"),
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
            "too new for",
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
    let error =
        Err::<(), _>(Failure::new("inner").hint("do this").code(2)).context("outer").unwrap_err();
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

#[test]
fn the_last_line_that_says_something_is_quoted() {
    const WHY: &str = r#"docker: Error response from daemon: exec: "python3": executable file not found in $PATH"#;
    for added in [
        "",
        "\n\nRun 'docker run --help' for more information\n",
        "\nSee 'docker run --help'.\n",
        "\ntime=\"2026-11-26T11:08:17Z\" level=error msg=\"error waiting for container: context canceled\"\n",
    ] {
        assert_eq!(last_line(&format!("{WHY}{added}")), Some(WHY));
    }
    assert_eq!(last_line(" \n"), None);
}
