//! Preflight: tries before a swap what would fail in the middle of it. Compose
//! removes the old container before it finds out about a GPU or a port.

use super::device::{self, Device};
use super::observe::Observation;
use super::operation::{Method, Operation, Phase};
use crate::docker::{Container, Project, SERVICE, commands};
use crate::error::Failure;

/// The operations that try whether a container of `image` could take the place of
/// the service's own: the GPUs it asks for, and the ports that the old container
/// does not free. Then what it depends on is started.
pub fn operations(seen: &Observation, image: &str) -> Vec<Operation> {
    const CAUSE: &str = "Compose removes the old container before it finds out";
    let mut operations = Vec::new();
    let mut add = |method, does, command| {
        operations.push(Phase::Prepare.operation(method, does, CAUSE, vec![command]));
    };
    if let Some(gpus) = requested_gpus(seen) {
        add(Method::TryGpus, format!("try the GPUs `{gpus}`"), commands::try_gpus(image, &gpus));
    }
    for address in to_publish(&seen.project, seen.container.as_ref()) {
        let command = commands::try_port(image, address);
        add(Method::Try, format!("try the port {address}"), command);
    }
    let Project { needs_started, needs_healthy, needs_completed, .. } = &seen.project;
    let needs = [&**needs_started, needs_healthy, needs_completed].concat();
    if !needs.is_empty() {
        let does = format!("start what `{SERVICE}` depends on: {}", needs.join(", "));
        let logs = format!("docker compose logs --tail 50 {}", needs.join(" "));
        let message =
            format!("a service that `{SERVICE}` depends on does not start; nothing was swapped");
        let commands = seen.docker.up_dependencies(&seen.project, image);
        // One that could not be started is not removed by docker.
        let names = commands.iter().filter_map(|command| command.value_of("--name"));
        let undo = names.map(commands::remove_container).collect();
        let start = Phase::Prepare.operation(Method::Change, does, CAUSE, commands);
        operations.push(start.undo(undo).fails(message, &[&logs]));
    }
    operations
}

/// The GPUs to try. What the compose files ask for counts, on whatever device:
/// Compose asks the engine for no less.
fn requested_gpus(seen: &Observation) -> Option<String> {
    let on_gpu = seen.device == Device::Gpu;
    asked_by_compose(seen).or(on_gpu.then_some("all")).map(str::to_owned)
}

/// The GPUs of the compose files; an added one takes them away.
fn asked_by_compose(seen: &Observation) -> Option<&str> {
    seen.project.gpus.as_deref().filter(|_| seen.docker.added().is_none())
}

/// Why the engine does not hand out the GPUs; `refusal` is what docker said.
pub fn gpu_failure(seen: &Observation, refusal: Failure) -> anyhow::Error {
    let Observation { docker, container, image, .. } = seen;
    let machine = docker.machine(container.as_ref(), image.as_ref());
    let card = machine.map(|machine| machine.nvidia_card);
    if seen.device == Device::Gpu && (card == Some(false) || asked_by_compose(seen).is_none()) {
        return device::out_of_reach(card);
    }
    Failure::new("the engine cannot hand out the GPUs that the service asks for")
        .advice("the compose file asks for them under `deploy.resources.reservations.devices`")
        .because(refusal.into())
        .into()
}

/// The addresses to publish that `container` does not hold already.
pub fn to_publish<'a>(
    project: &'a Project,
    container: Option<&Container>,
) -> impl Iterator<Item = &'a String> {
    // One that crashes again and again holds its ports only now and then.
    let holds = |c: &&Container| ["running", "restarting", "paused"].iter().any(|s| c.is(s));
    let held: Vec<String> =
        container.filter(holds).map(Container::requested_addresses).unwrap_or_default();
    project.ports.iter().filter(move |new| !held.iter().any(|old| overlap(old, new)))
}

/// Whether two addresses exclude each other: the same number on the same host, or
/// on all of them.
fn overlap(a: &str, b: &str) -> bool {
    let (Some((host_a, port_a)), Some((host_b, port_b))) = (a.rsplit_once(':'), b.rsplit_once(':'))
    else {
        return false;
    };
    let all = |host: &str| ["", "0.0.0.0", "[::]"].contains(&host);
    port_a == port_b && (host_a == host_b || all(host_a) || all(host_b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_exclude_each_other() {
        for (a, b, want) in [
            ("127.0.0.1:8000", "127.0.0.1:8000", true),
            ("127.0.0.1:8000", "0.0.0.0:8000", true),
            (":8000", "[::1]:8000", true),
            ("[::]:8000", "127.0.0.1:8000", true),
            ("127.0.0.1:8000", "192.0.2.7:8000", false),
            ("127.0.0.1:8000", "127.0.0.1:8001", false),
            ("0.0.0.0:8000", "0.0.0.0:8001", false),
        ] {
            assert_eq!((overlap(a, b), overlap(b, a)), (want, want), "{a} {b}");
        }
    }

    #[test]
    fn a_port_that_the_old_container_holds_becomes_free() {
        let project = Project::parse(
            r#"{"name":"p","services":{"backend":{"ports":[{"host_ip":"127.0.0.1","published":"80"},{"published":"81"}]}}}"#,
        )
        .unwrap();
        for (status, left) in [
            ("running", vec!["0.0.0.0:81"]),
            ("restarting", vec!["0.0.0.0:81"]),
            ("paused", vec!["0.0.0.0:81"]),
            ("exited", vec!["127.0.0.1:80", "0.0.0.0:81"]),
        ] {
            let container: Container = serde_json::from_str(&format!(
                r#"{{"State":{{"Status":"{status}"}},"HostConfig":{{"PortBindings":{{"9/tcp":[{{"HostIp":"127.0.0.1","HostPort":"80"}}]}}}}}}"#
            ))
            .unwrap();
            assert_eq!(to_publish(&project, Some(&container)).collect::<Vec<_>>(), left);
        }
    }
}
