//! The tools on this machine, and the engine they talk to.

use crate::docker::{MIN_COMPOSE, recent_enough};
use crate::doctor::{Facts, Finding, http};

pub fn cli(facts: &Facts) -> Finding {
    facts.docker().map_or_else(|trouble| Finding::of(&trouble), |_| Finding::ok("on PATH"))
}

/// Reachable or not, and then why: each cause has a remedy of its own.
pub fn engine(facts: &Facts) -> Finding {
    let endpoint = facts.endpoint().map(String::as_str).unwrap_or_default();
    let evidence = (!endpoint.is_empty()).then(|| format!("at {endpoint}"));
    let finding = match facts.engine() {
        Ok(engine) => Finding::ok(&engine.version),
        Err(trouble)
            if trouble.says.contains("does not answer") && http::remote(endpoint).is_some() =>
        {
            Finding::fail(format!("the Docker engine at {endpoint} does not answer")).remedy(
                "Start it there, or take this machine's own engine.",
                &[
                    "docker context ls   # which engine is meant",
                    "unset DOCKER_HOST DOCKER_CONTEXT; docker context use default",
                ],
            )
        }
        Err(trouble) => Finding::of(&trouble),
    };
    finding.evidence(evidence)
}

pub fn compose(facts: &Facts) -> Finding {
    let finding = match facts.compose_version() {
        Err(trouble) => Finding::of(&trouble),
        Ok(version) if recent_enough(version) => Finding::ok(version),
        Ok(version) => Finding::fail(format!("{version} is too old")).found(version).remedy(
            "docs.docker.com/compose/install tells how to upgrade it.",
            &["cargo xtask up --setup"],
        ),
    };
    finding.expected(format!("{}.{} or newer", MIN_COMPOSE.0, MIN_COMPOSE.1))
}

pub fn buildx(facts: &Facts) -> Finding {
    match facts.buildx_version() {
        // `github.com/docker/buildx v0.13.1 …`
        Ok(version) => Finding::ok(version.split(' ').nth(1).unwrap_or(version)),
        Err(trouble) if trouble.unanswered => Finding::unknown(&trouble),
        Err(trouble) => Finding::fail("the buildx plugin is missing")
            .evidence([trouble.says])
            .remedy("docs.docker.com/build/install-buildx", &["cargo xtask up --setup"]),
    }
}

/// Only the sources of Step1X-3D come by git, so nothing else breaks without.
pub fn git(facts: &Facts) -> Finding {
    match facts.git_version() {
        Ok(version) => Finding::ok(version),
        Err(trouble) if trouble.unanswered => Finding::unknown(&trouble),
        Err(trouble) => Finding::warn("missing: Step1X-3D's sources cannot be fetched")
            .evidence([trouble.says])
            .remedy("Install it.", &["sudo apt-get install git   # on Debian and Ubuntu"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Engine;
    use crate::doctor::{Status, finding::Trouble};
    use crate::error::Failure;

    /// What docker's words become, as [`Facts`] hands them on.
    fn says(stderr: &str) -> Trouble {
        anyhow::Error::from(Failure::of_command("docker x", 1, stderr)).into()
    }

    #[test]
    fn a_docker_cli_is_there_or_not() {
        assert_eq!(cli(&Facts::none()).status, Status::Fail);
    }

    #[test]
    fn an_engine_that_does_not_answer_is_told_from_one_that_may_not() {
        let fine = Engine { version: "26.1.5".into(), ..Engine::default() };
        assert_eq!(engine(&Facts::none().with_engine(Ok(fine))), Finding::ok("26.1.5"));
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
            let trouble = says(stderr);
            let facts =
                Facts::none().with_endpoint(Ok(endpoint.into())).with_engine_trouble(trouble);
            let finding = engine(&facts);
            let commands = finding.remedy.unwrap().commands.join("\n");
            assert!(finding.message.contains(message), "{}", finding.message);
            assert!(commands.starts_with(command), "{commands}");
        }
    }

    #[test]
    fn a_tool_that_gives_no_answer_is_not_known_to_be_broken() {
        const SLOW: &str = "`docker x` gave no answer within 30 s";
        for finding in [
            engine(&Facts::none().with_engine(Err(SLOW))),
            compose(&Facts::none().with_compose_version(Err(SLOW))),
            buildx(&Facts::none().with_buildx_version(Err(SLOW))),
            git(&Facts::none().with_git_version(Err(SLOW))),
        ] {
            assert_eq!(finding.status, Status::Error, "{finding:?}");
        }
    }

    #[test]
    fn versions_and_what_is_missing() {
        let with = |version: &str| Facts::none().with_compose_version(Ok(version.into()));
        assert_eq!(compose(&with("2.26.1")).status, Status::Ok);
        assert_eq!(compose(&with("2.20.3")).message, "2.20.3 is too old");
        // Compose 1 is another program, and `docker compose` then does not exist.
        let v1 =
            Facts::none().with_compose_trouble(says("docker: 'compose' is not a docker command."));
        assert!(compose(&v1).message.contains("2.24 or newer is missing"));

        let buildx_is = |answer| buildx(&Facts::none().with_buildx_version(answer));
        assert_eq!(
            buildx_is(Ok("github.com/docker/buildx v0.13.1 7884".into())),
            Finding::ok("v0.13.1")
        );
        assert_eq!(buildx_is(Err("not a docker command")).status, Status::Fail);

        assert_eq!(
            git(&Facts::none().with_git_version(Ok("2.39.5".into()))),
            Finding::ok("2.39.5")
        );
        assert_eq!(git(&Facts::none().with_git_version(Err("none"))).status, Status::Warn);
    }
}
