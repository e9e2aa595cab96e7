//! The tools on this machine, and the engine they talk to.

use crate::docker::engine::{self, Oldest};
use crate::docker::{Builder, Engine};
use crate::doctor::finding::by_command;
use crate::doctor::{Facts, Finding, Judgement, Status, Trouble};
use crate::error::Kind;

remedies! {
    OTHER_ENGINE = by_command("Start it there, or use the engine of this machine.", &[
        "docker context ls   # which engine is meant",
        "unset DOCKER_HOST DOCKER_CONTEXT; docker context use default",
    ]);
    BUILDX = by_command("docs.docker.com/build/install-buildx", &["cargo xtask up --setup"]);
    PLATFORM = by_command("Images for another architecture run slowly, by emulation, or not at all.",
        &["unset DOCKER_DEFAULT_PLATFORM   # or remove it from .env"]);
    GIT = by_command("Install it.", &["sudo apt-get install git   # on Debian and Ubuntu"]);
}

pub fn cli(facts: &Facts) -> Judgement {
    facts.docker().map_err(Trouble::fault)?;
    Ok(Finding::ok("on PATH"))
}

/// Whether the engine can be reached, and if not, why: each cause has its own remedy.
pub fn engine(facts: &Facts) -> Judgement {
    let endpoint = facts.endpoint().ok().map(|endpoint| format!("at {endpoint}"));
    let finding = match (facts.engine(), &endpoint) {
        (Ok(engine), _) => running(engine, facts.platform().ok().flatten()),
        (Err(trouble), Some(there))
            if trouble.kind == Kind::EngineDown && facts.engine_is_remote() =>
        {
            Finding::fail(format!("the Docker engine {there} does not answer")).remedy(OTHER_ENGINE)
        }
        (Err(trouble), _) => trouble.fault().into(),
    };
    Ok(finding.evidence(endpoint))
}

/// What an engine that answers is fit for; `platform` is DOCKER_DEFAULT_PLATFORM.
fn running(engine: &Engine, platform: Option<&String>) -> Finding {
    let version = &engine.version;
    if let Err(failure) = engine.check_itself() {
        return Trouble::from(failure).fault().into();
    }
    if let Some(other) = platform.filter(|platform| !engine.runs(platform)) {
        let own = engine.architecture();
        let message = format!("it is for {own}, but DOCKER_DEFAULT_PLATFORM asks for {other}");
        return Finding::warn(message).found(version).remedy(PLATFORM);
    }
    match engine.product() {
        None => Finding::ok(version),
        Some(name) => Finding { message: format!("{version}, {name}"), ..Finding::ok(version) },
    }
}

/// A tool of this version, and whether that is too old.
fn versioned(oldest: &Oldest, version: &str) -> Finding {
    let finding = match oldest.check(version) {
        Ok(()) => Finding::ok(version),
        Err(failure) => Finding::from(Trouble::from(failure).fault()).found(version),
    };
    finding.expected(oldest.to_string())
}

pub fn compose(facts: &Facts) -> Judgement {
    Ok(versioned(&engine::COMPOSE, facts.compose_version().map_err(Trouble::fault)?))
}

/// What `finding` says of a tool that is missing, unless it only gave no answer.
fn missing(trouble: Trouble, finding: Finding) -> Judgement {
    if trouble.kind == Kind::NoAnswer {
        Err(trouble)
    } else {
        Ok(finding.evidence([trouble.message]))
    }
}

pub fn buildx(facts: &Facts) -> Judgement {
    let version = match facts.buildx_version() {
        Ok(version) => version,
        Err(trouble) => {
            return missing(trouble, Finding::fail("the buildx plugin is missing").remedy(BUILDX));
        }
    };
    let finding = versioned(&engine::BUILDX, version);
    if finding.status != Status::Ok {
        return Ok(finding);
    }
    let Builder { name, driver, .. } = facts.builder().map_err(Trouble::fault)?;
    let other = format!("{version}; builds by the engine itself, not by `{name}` ({driver})");
    // A builder with another driver keeps its images to itself.
    Ok(if driver == "docker" { finding } else { Finding { message: other, ..finding } })
}

/// git is needed for the sources of Step1X-3D only.
pub fn git(facts: &Facts) -> Judgement {
    let finding = Finding::warn("missing: Step1X-3D's sources cannot be fetched").remedy(GIT);
    facts.git_version().map(Finding::ok).or_else(|trouble| missing(trouble, finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::judge;
    use crate::doctor::facts::Known;
    use crate::doctor::facts::stated::read;
    use crate::error::Failure;

    /// What docker's words become, as [`Facts`] hands them on.
    fn says(stderr: &str) -> Trouble {
        Failure::of_command("docker x", 1, stderr).into()
    }

    #[test]
    fn a_docker_cli_is_there_or_not() {
        assert_eq!(judge(cli, &Facts::none()).status, Status::Fail);
    }

    #[test]
    fn an_engine_that_does_not_answer_is_told_from_one_that_may_not() {
        let engine_is = |json: &str, platform: Option<&str>| {
            let platform = Ok(platform.map(str::to_owned));
            judge(engine, &Facts::none().with_engine(Ok(read(json))).with_platform(platform))
        };
        const PLAIN: &str =
            r#"{"ServerVersion": "26.1.5", "OSType": "linux", "Architecture": "x86_64"}"#;
        assert_eq!(engine_is(PLAIN, None), Finding::ok("26.1.5"));
        assert_eq!(engine_is(PLAIN, Some("linux/amd64/v2")), Finding::ok("26.1.5"));
        let foreign = engine_is(PLAIN, Some("linux/arm64"));
        let message = "it is for amd64, but DOCKER_DEFAULT_PLATFORM asks for linux/arm64";
        assert_eq!((foreign.status, &*foreign.message), (Status::Warn, message));
        assert_eq!(
            foreign.next_step(),
            Some("unset DOCKER_DEFAULT_PLATFORM   # or remove it from .env")
        );
        let desktop = r#"{"ServerVersion": "28.5.1", "OperatingSystem": "Docker Desktop"}"#;
        assert_eq!(engine_is(desktop, None).message, "28.5.1, Docker Desktop");
        let podman = r#"{"ServerVersion": "4.3.1", "Plugins": {"Log": ["k8s-file"]}}"#;
        assert_eq!(engine_is(podman, None).status, Status::Fail);
        for (endpoint, stderr, message, command) in [
            (
                "unix:///var/run/docker.sock",
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                "the Docker engine does not answer",
                "sudo systemctl start docker",
            ),
            (
                "unix:///var/run/docker.sock",
                "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get \"http://%2Fvar%2Frun%2Fdocker.sock/v1.50/info\": dial unix /var/run/docker.sock: connect: permission denied",
                "no permission",
                "sudo usermod -aG docker $USER",
            ),
            (
                "tcp://10.0.0.7:2376",
                "permission denied while trying to connect to the Docker daemon socket",
                "no permission",
                "sudo usermod -aG docker $USER",
            ),
            (
                "",
                "Failed to initialize: unable to resolve docker endpoint: context \"gone\": context not found: open /x/meta.json: no such file or directory",
                "context that is chosen does not exist",
                "docker context use default",
            ),
            (
                "tcp://10.0.0.7:2376",
                "error during connect: Get \"http://10.0.0.7:2376/v1.50/info\": dial tcp 10.0.0.7:2376: i/o timeout",
                "the Docker engine at tcp://10.0.0.7:2376 does not answer",
                "docker context ls",
            ),
        ] {
            let known =
                if endpoint.is_empty() { Err("unknown".into()) } else { Ok(endpoint.into()) };
            let facts = Facts::none().with_endpoint(known).with_engine(Err(says(stderr)));
            let finding = judge(engine, &facts);
            let commands = finding.remedy.unwrap().commands.join("\n");
            assert!(finding.message.contains(message), "{}", finding.message);
            assert!(commands.starts_with(command), "{commands}");
            let at = if endpoint.is_empty() { vec![] } else { vec![format!("at {endpoint}")] };
            assert_eq!((finding.status, finding.evidence), (Status::Fail, at));
        }
    }

    #[test]
    fn a_tool_that_gives_no_answer_is_not_known_to_be_broken() {
        let slow = || {
            let message = "`docker x` gave no answer within 30 s".to_owned();
            Trouble { kind: Kind::NoAnswer, message, ..Trouble::default() }
        };
        for finding in [
            judge(engine, &Facts::none().with_engine(Err(slow()))),
            judge(compose, &Facts::none().with_compose_version(Err(slow()))),
            judge(buildx, &Facts::none().with_buildx_version(Err(slow()))),
            judge(git, &Facts::none().with_git_version(Err(slow()))),
        ] {
            assert_eq!(finding.status, Status::Error, "{finding:?}");
        }
    }

    #[test]
    fn versions_and_what_is_missing() {
        let compose = |version| judge(compose, &Facts::none().with_compose_version(version));
        let recent = compose(Ok("2.26.1".into()));
        assert_eq!(recent, Finding::ok("2.26.1").expected("2.24 or newer"));
        let old = compose(Ok("2.20.3".into()));
        let message = "Docker Compose 2.20.3 is too old: 2.24 or newer is needed";
        assert_eq!((old.status, &*old.message), (Status::Fail, message));
        assert!(old.next_step().unwrap().starts_with("cargo xtask up --setup"));
        // Compose 1 is another program, and `docker compose` then does not exist.
        let v1 = compose(Err(says("docker: 'compose' is not a docker command.")));
        assert!(v1.message.contains("2.24 or newer is missing"));

        let own = || Builder { name: "default".into(), driver: "docker".into(), keeps: None };
        let buildx = |version: Known<String>, builder| {
            judge(buildx, &Facts::none().with_buildx_version(version).with_builder(builder))
        };
        let says = |version: &str| Ok(version.to_owned());
        let recent = buildx(says("v0.13.1"), Ok(own()));
        assert_eq!(recent, Finding::ok("v0.13.1").expected("0.12 or newer"));
        let old = buildx(says("v0.11.2"), Ok(own()));
        assert_eq!((old.status, old.found.as_deref()), (Status::Fail, Some("v0.11.2")));
        let other = Builder { name: "ci".into(), driver: "docker-container".into(), ..own() };
        let other = buildx(says("v0.13.1"), Ok(other));
        let message = "v0.13.1; builds by the engine itself, not by `ci` (docker-container)";
        assert_eq!((other.status, &*other.message), (Status::Ok, message));
        for (stderr, message, command) in [
            (
                "ERROR: no builder \"gone\" found",
                "the builder that is chosen for buildx does not exist",
                "unset BUILDX_BUILDER",
            ),
            (
                "ERROR: mkdir /home/me/.docker/buildx/instances: permission denied",
                "buildx cannot write its own files in Docker's configuration directory",
                "sudo chown -R \"$USER\" \"${DOCKER_CONFIG:-$HOME/.docker}\"",
            ),
        ] {
            let broken = buildx(says("v0.13.1"), Err(self::says(stderr)));
            assert_eq!((broken.status, &*broken.message), (Status::Fail, message));
            assert_eq!(broken.next_step(), Some(command));
        }
        let missing = buildx(Err("not a docker command".into()), Ok(own()));
        assert_eq!((missing.status, &*missing.evidence[0]), (Status::Fail, "not a docker command"));
        assert_eq!(missing.next_step(), Some("cargo xtask up --setup"));

        let git = |answer| judge(git, &Facts::none().with_git_version(answer));
        assert_eq!(git(Ok("2.39.5".into())), Finding::ok("2.39.5"));
        let missing = git(Err("none".into()));
        assert_eq!((missing.status, &*missing.evidence[0]), (Status::Warn, "none"));
        assert!(missing.next_step().unwrap().starts_with("sudo apt-get install git"));
    }
}
