//! What the engine's machine has to offer: the port, disk and memory.

use crate::deploy::preflight;
use crate::doctor::finding::by_hand;
use crate::doctor::{Facts, Finding, Judgement, Status};
use crate::error::Kind;
use crate::ui;

/// Bytes that a full build needs while both images are there.
const BUILD: u64 = 20_000_000_000;

/// Bytes of memory below which building and loading torch gets slow or killed.
const MEMORY: u64 = 8_000_000_000;

remedies! {
    FREE_DISK = by_hand("A full build needs about 20 GB. Remove what you no longer need there.", &["docker system df   # what Docker holds"]);
    MORE_MEMORY = by_hand("Give the machine, or Docker Desktop's, more: the build and the model may be killed.", &[]);
}

/// Whether the service can publish its port, if it does not already.
pub fn port(facts: &Facts) -> Judgement {
    let (project, container) = (facts.project()?, facts.container()?);
    if project.ports.is_empty() {
        return Ok(Finding::skipped("the service publishes none"));
    }
    let ports = project.ports.join(", ");
    if preflight::to_publish(project, container).next().is_none() {
        return Ok(Finding::ok(format!("{ports}, held by our container")));
    }
    if facts.some_image()?.is_none() {
        return Ok(Finding::skipped("the engine has no image to try it with"));
    }
    let Some((address, trouble)) = facts.port()? else {
        return Ok(Finding::ok(format!("{ports} is free")));
    };
    if trouble.remedy.is_empty() {
        return Err(trouble.clone());
    }
    let finding = Finding::from(trouble.clone().fault()).found(address);
    if trouble.kind != Kind::PortTaken {
        return Ok(finding);
    }
    let number = address.rsplit(':').next().unwrap_or_default();
    let holder = format!("docker ps --filter publish={number}   # whether a container holds it");
    let text = "End what holds it, or name a free port by BACKEND_PORT in .env.";
    Ok(finding.remedy(by_hand(text, &[&holder, "cargo xtask up"])))
}

/// Free disk where the engine stores images. Too little is a fault only if a full
/// build is due.
pub fn disk(facts: &Facts) -> Judgement {
    let Some(free) = facts.machine()?.and_then(|machine| machine.free) else {
        return Ok(Finding::skipped("no image or container to look with"));
    };
    let found = format!("{} free on the engine's machine", ui::size(free));
    let finding = match facts.image() {
        _ if free >= BUILD => Finding::ok(found),
        Ok(None) => Finding::measured(Status::Fail, found).remedy(FREE_DISK),
        _ => Finding::measured(Status::Warn, found).remedy(FREE_DISK),
    };
    Ok(finding.expected(format!("{} for a full build", ui::size(BUILD))))
}

pub fn memory(facts: &Facts) -> Judgement {
    let memory = facts.engine()?.memory;
    let found = format!("{} on the engine's machine", ui::size(memory));
    let finding = match memory {
        0 => return Ok(Finding::skipped("the engine does not say")),
        MEMORY.. => Finding::ok(found),
        _ => Finding::measured(Status::Warn, found).remedy(MORE_MEMORY),
    };
    Ok(finding.expected(format!("{} or more", ui::size(MEMORY))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::{Container, Machine, Project};
    use crate::doctor::Trouble;
    use crate::doctor::checks::judge;
    use crate::doctor::facts::stated::read;
    use crate::error::Failure;

    fn project() -> Project {
        Project::parse(r#"{"name":"p","services":{"backend":{"ports":[{"host_ip":"127.0.0.1","published":"8000"}]}}}"#).unwrap()
    }

    #[test]
    fn a_port_is_free_ours_or_taken() {
        let running = |ip: &str, port: u16| -> Option<Container> {
            let binding = format!(r#"{{"8000/tcp":[{{"HostIp":"{ip}","HostPort":"{port}"}}]}}"#);
            read(&format!(
                r#"{{"State":{{"Status":"running"}},"HostConfig":{{"PortBindings":{binding}}}}}"#
            ))
        };
        let refused = |stderr: &str| {
            let failure = Failure::of_command("docker run", 125, stderr);
            Ok(Some(("127.0.0.1:8000".to_owned(), Trouble::from(failure))))
        };
        type Port = Option<(String, Trouble)>;
        let with = |container: Option<Container>, taken: Result<Port, Trouble>| {
            let facts = Facts::none().with_project(Ok(project())).with_container(Ok(container));
            judge(port, &facts.with_image(Ok(Some(read("{}")))).with_port(taken))
        };
        let ours = with(running("0.0.0.0", 8000), Err("never asked".into()));
        assert_eq!((ours.status, ours.message.contains("our container")), (Status::Ok, true));
        assert_eq!(with(None, Ok(None)).message, "127.0.0.1:8000 is free");
        let holder = Some("End what holds it, or name a free port by BACKEND_PORT in .env.");
        for (container, answer, status, step) in [
            (
                None,
                refused("Bind for 127.0.0.1:8000 failed: port is already allocated"),
                Status::Fail,
                holder,
            ),
            // Ours publishes another port than the compose file wants.
            (running("127.0.0.1", 18200), refused("address already in use"), Status::Fail, holder),
            (
                None,
                refused("listen tcp4 203.0.113.9:8000: bind: cannot assign requested address"),
                Status::Fail,
                Some("cargo xtask up"),
            ),
            (None, refused("something new"), Status::Error, None),
            (None, Err("docker gave no answer".into()), Status::Error, None),
        ] {
            let finding = with(container, answer);
            assert_eq!((finding.status, finding.next_step()), (status, step), "{finding:?}");
            if step == holder {
                let commands = finding.remedy.unwrap().commands;
                assert!(commands[0].starts_with("docker ps --filter publish=8000 "));
            }
        }
        let none = Project { ports: Vec::new(), ..project() };
        let facts = Facts::none().with_project(Ok(none)).with_container(Ok(None));
        assert_eq!(judge(port, &facts).status, Status::Skipped);
    }

    #[test]
    fn little_disk_is_a_fault_only_before_the_first_build() {
        let with = |free: Option<u64>, has_image: bool| {
            let machine = Machine { free, ..Machine::default() };
            let image = if has_image { Some(read("{}")) } else { None };
            let facts = Facts::none().with_machine(Ok(Some(machine))).with_image(Ok(image));
            judge(disk, &facts)
        };
        let enough = with(Some(20_000_000_000), false);
        assert_eq!((enough.status, enough.remedy), (Status::Ok, None));
        assert_eq!(with(Some(19_999_999_999), false).status, Status::Fail);
        let finding = with(Some(19_999_999_999), true);
        assert_eq!(finding.status, Status::Warn);
        assert!(finding.next_step().unwrap().starts_with("A full build needs about 20 GB."));
        assert_eq!(finding.expected.as_deref(), Some("20.0 GB for a full build"));
        assert_eq!(with(None, false).status, Status::Skipped);
        assert_eq!(judge(disk, &Facts::none().with_machine(Ok(None))).status, Status::Skipped);
    }

    #[test]
    fn memory_is_the_engines() {
        let with = |bytes: u64| {
            let engine = read(&format!(r#"{{"MemTotal": {bytes}}}"#));
            judge(memory, &Facts::none().with_engine(Ok(engine)))
        };
        let [enough, little, unknown] = [8_000_000_000, 7_999_999_999, 0].map(with);
        assert_eq!(enough.status, Status::Ok);
        assert_eq!((little.status, little.remedy.is_some()), (Status::Warn, true));
        assert_eq!(little.expected.as_deref(), Some("8.0 GB or more"));
        assert_eq!(unknown.status, Status::Skipped);
    }
}
