//! Commands that change something, as data.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Docker, Project, SERVICE};
use crate::process::{self, Invocation};

impl Docker {
    /// Builds the service's image under `temporary` alone: its own names stay with the old one.
    pub fn build(&self, temporary: &str, options: &[&str]) -> Invocation {
        let service = format!("{{image: \"{temporary}\", build: {{tags: !reset []}}}}");
        let overlay = format!("services: {{{SERVICE}: {service}}}\n");
        // Plain, since the output is read along for known causes of failure.
        let build = ["--progress", "plain", "build"];
        let args = [&build, &*self.builder_option(), options, &[SERVICE]].concat();
        self.compose_with(Some("-"), &args)
            .stdin(overlay, "a compose file that names the image and resets its further tags")
    }

    /// Starts what the service depends on: Compose replaces its container before it waits for that.
    /// What has to end first is waited for by a throw-away container of the service with `image`.
    pub fn up_dependencies(&self, project: &Project, image: &str) -> Vec<Invocation> {
        if !project.needs_completed.is_empty() {
            let overlay = format!("services: {{{SERVICE}: {{image: \"{image}\"}}}}\n");
            let options = ["--rm", "--no-TTY", "--interactive=false", "--name", &throw_away_name()];
            let args = [&["run"], &options[..], &["--entrypoint", "true", SERVICE]].concat();
            let run = self.compose_with(Some("-"), &args);
            return vec![run.stdin(overlay, "a compose file that names the image")];
        }
        let up = self.compose(&["up", "--detach", "--no-build"]);
        let wait = up.clone().args(["--wait", "--wait-timeout", "120"]);
        let all = [(up, &project.needs_started), (wait, &project.needs_healthy)].into_iter();
        all.filter(|(_, names)| !names.is_empty()).map(|(up, names)| up.args(names)).collect()
    }

    /// Creates, recreates or starts the container as needed, after what it depends on.
    pub fn up(&self) -> Invocation {
        self.compose(&["up", "--detach", "--no-build", SERVICE])
    }

    /// Replaces the container, although nothing drifted.
    pub fn recreate(&self) -> Invocation {
        self.compose(&["up", "--detach", "--no-build", "--force-recreate", SERVICE])
    }

    /// Ends the container's process and starts it again, whatever it does.
    pub fn restart(&self) -> Invocation {
        self.compose(&["restart", "--no-deps", SERVICE])
    }

    pub fn unpause(&self) -> Invocation {
        self.compose(&["unpause", SERVICE])
    }

    /// Removes the records of the build cache whose ids match a regular expression.
    pub fn prune_build_cache(&self, ids: &str) -> Invocation {
        let args = ["--force", "--filter", &format!("id={ids}")];
        docker(["buildx", "prune"]).args(self.builder_option()).args(args)
    }

    pub(super) fn builder_option(&self) -> Vec<&str> {
        self.builder.iter().flat_map(|builder| ["--builder", builder]).collect()
    }

    pub(super) fn compose(&self, args: &[&str]) -> Invocation {
        self.compose_with(None, args)
    }

    /// Files are named only where one is added to those that Compose would take by itself.
    fn compose_with(&self, overlay: Option<&str>, args: &[&str]) -> Invocation {
        let added: Vec<&str> = self.added().into_iter().chain(overlay).collect();
        let own = self.files.iter().map(String::as_str).filter(|_| !added.is_empty());
        let files = own.chain(added.iter().copied()).flat_map(|name| ["--file", name]);
        docker(["compose"]).args(files).args(args.iter().copied())
    }
}

/// Removes a container, whether or not it runs.
pub fn remove_container(name: &str) -> Invocation {
    docker(["rm", "--force", name])
}

/// Gives an image one more name.
pub fn tag(from: &str, to: &str) -> Invocation {
    docker(["tag", from, to])
}

/// Removes names of images, and with its last name each image that no container uses.
pub fn remove_images<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Invocation {
    docker(["image", "rm"]).args(names)
}

/// Makes an image of no size that carries one label.
pub fn label_image(reference: &str, key: &str, value: &str) -> Invocation {
    let quoted = value.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
    // An empty tar archive is two blocks of zeros.
    docker(["import", "--change", &format!("LABEL {key}=\"{quoted}\""), "-", reference])
        .stdin(vec![0; 1024], "an empty archive")
}

/// Starts a throw-away container with `gpus`, as `docker run --gpus` takes them.
pub fn try_gpus(image: &str, gpus: &str) -> Invocation {
    throw_away(&gpu_options(gpus), image, &["true"])
}

pub fn try_port(image: &str, address: &str) -> Invocation {
    let publish = format!("{address}:1");
    throw_away(&["--network", "bridge", "--publish", &publish], image, &["true"])
}

/// A container without a network unless `options` name one. By its name it can be removed.
pub(super) fn throw_away(options: &[&str], image: &str, command: &[&str]) -> Invocation {
    let name = throw_away_name();
    let own_network = options.contains(&"--network");
    let network: &[&str] = if own_network { &[] } else { &["--network", "none"] };
    let (program, args) = command.split_at(1);
    docker([&["run", "--rm"], options, &["--interactive", "--name", &name], network].concat())
        .args([&["--entrypoint"], program, &[image], args].concat())
}

fn throw_away_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("xtask-{}-{}", process::run_id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Options of `docker run` that ask for GPUs. CDI's own names are devices.
pub(super) fn gpu_options(gpus: &str) -> Vec<&str> {
    let ids = gpus.trim_matches('"').trim_start_matches("device=");
    if !ids.contains("nvidia.com/gpu=") {
        return vec!["--gpus", gpus];
    }
    ids.split(',').flat_map(|id| ["--device", id]).collect()
}

pub(super) fn docker<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Invocation {
    Invocation::new("docker", args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_asked_for_as_the_engine_knows_them() {
        for (gpus, want) in [
            ("all", "--gpus all"),
            ("\"device=0,3\"", "--gpus \"device=0,3\""),
            (
                "\"device=nvidia.com/gpu=0,nvidia.com/gpu=1\"",
                "--device nvidia.com/gpu=0 --device nvidia.com/gpu=1",
            ),
        ] {
            assert_eq!(gpu_options(gpus).join(" "), want);
        }
    }

    #[test]
    fn a_label_survives_dockers_parser() {
        let label = label_image("x:1", "key", r#"a\b "c" $d"#).to_string();
        assert_eq!(label, r#"docker import --change 'LABEL key="a\\b \"c\" \$d"' - x:1"#);
    }

    #[test]
    fn compose_files_are_named_only_where_one_is_added() {
        let root = std::env::temp_dir().join(format!("xtask-commands-{}", process::run_id()));
        fs_err::create_dir_all(&root).unwrap();
        fs_err::write(root.join("b.yml"), "").unwrap();
        let docker = Docker::with_files(root.clone(), vec!["a.yml".into()]).unwrap();
        let up = |docker: Docker| docker.up().to_string();
        const UP: &str = "up --detach --no-build backend";
        assert_eq!(up(docker.clone()), format!("docker compose {UP}"));
        assert_eq!(up(docker.adding(Some("none.yml"))), format!("docker compose {UP}"));
        assert_eq!(up(docker.adding(Some("a.yml"))), format!("docker compose {UP}"));
        let with = format!("docker compose --file a.yml --file b.yml {UP}");
        assert_eq!(up(docker.adding(Some("b.yml"))), with);
        assert_eq!(
            docker.build("x:y", &["--no-cache", "--pull"]).to_string(),
            "docker compose --file a.yml --file - --progress plain build --no-cache --pull backend"
        );
        fs_err::remove_dir_all(root).unwrap();
    }
}
