//! The clone, and what the engine's machine has to offer it.

use std::path::Path;

use anyhow::Result;

use crate::commands::sources;
use crate::deploy::device;
use crate::deploy::preflight;
use crate::docker::{SERVICE, files};
use crate::doctor::{Facts, Finding, Fix, Status, finding::Remedy};
use crate::error::Failure;
use crate::image::requirements::PATH;
use crate::ui::report;

/// Bytes that a full build needs while both images are there.
const BUILD: u64 = 20_000_000_000;

/// Bytes of memory below which building and loading torch gets slow or killed.
const MEMORY: u64 = 8_000_000_000;

/// .env and its example, by the names in them; values stay out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnvFile {
    /// Each with whether its value is empty; none where there is no .env.
    pub names: Option<Vec<(String, bool)>>,
    /// What .env.example sets, rather than only mentions.
    pub example: Vec<String>,
    /// Whether there is a .env.example.
    pub has_example: bool,
    /// XTASK_DEVICE is none of the words it may be.
    pub wrong_device: bool,
}

impl EnvFile {
    /// # Errors
    /// When one of the files is there and can't be read.
    pub fn read(root: &Path, wrong_device: bool) -> Result<EnvFile> {
        let read = |name: &str| -> Result<_> {
            let path = root.join(name);
            let text = path.is_file().then(|| fs_err::read_to_string(path)).transpose();
            let text = text.map_err(|error| {
                Failure::new(format!("{name} cannot be read: {error}"))
                    .advice(format!("Save {name} as UTF-8, and see that you may read it."))
            })?;
            Ok(text.map(|text| files::keys(&text)))
        };
        let example = read(".env.example")?;
        Ok(EnvFile {
            names: read(".env")?,
            has_example: example.is_some(),
            example: example.into_iter().flatten().map(|(name, _)| name).collect(),
            wrong_device,
        })
    }
}

/// .env against .env.example, without a look at any value.
pub fn env(facts: &Facts) -> Finding {
    let file = match facts.env_file() {
        Ok(file) => file,
        Err(trouble) => return Finding::of(&trouble),
    };
    let (project, trouble) = (facts.project().ok(), facts.project().err());
    if file.wrong_device {
        return Finding::fail(format!("{} is none of gpu, cpu and auto", device::SETTING))
            .remedy("Correct it in the environment or in .env.", &[]);
    }
    let copy = |finding: Finding| match file.has_example {
        true => finding
            .remedy("Start from the example.", &["cp .env.example .env", "cargo xtask up"])
            .fix(Fix::EnvFile),
        false => finding.remedy("Write it; the compose file names what it must hold.", &[]),
    };
    let Some(names) = &file.names else {
        // "env file /r/.env not found: stat /r/.env: no such file or directory"
        let needed =
            trouble.is_some_and(|t| t.says.contains("env file") && t.says.contains("not found"));
        return match &*file.example {
            _ if needed => copy(Finding::fail("missing, and the compose file needs it")),
            [] => Finding::ok("none, and none is needed"),
            names => {
                copy(Finding::warn(format!("missing; .env.example sets {}", names.join(", "))))
            }
        };
    };
    let lacks = |name: &&String| names.iter().all(|(there, _)| there != *name);
    let missing: Vec<_> = file.example.iter().filter(lacks).cloned().collect();
    if !missing.is_empty() {
        return Finding::warn(format!("lacks {}, which .env.example sets", missing.join(", ")))
            .remedy("Copy them from there.", &["diff .env.example .env"]);
    }
    const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
    let empty = names.iter().any(|(name, empty)| name == VISIBLE && *empty)
        || project.is_some_and(|project| project.visible_devices.as_deref() == Some(""));
    if empty {
        return Finding::warn(format!("{VISIBLE} is set but empty, which hides every GPU")).remedy(
            "Remove it, or name GPUs in it; where the compose file passes it on, unset counts as empty.",
            &["cargo xtask restart   # afterwards"],
        );
    }
    Finding::ok(match names.len() {
        1 => "1 setting".to_owned(),
        n => format!("{n} settings"),
    })
}

pub fn compose_file(facts: &Facts) -> Finding {
    match facts.project() {
        Ok(project) => Finding::ok(format!("project `{}` has `{SERVICE}`", project.name)),
        Err(trouble) => Finding::of(&trouble),
    }
}

/// Step1X-3D's own sources, without which the service runs but generates nothing.
pub fn sources(facts: &Facts) -> Finding {
    if sources::present(facts.root()) {
        return Finding::ok(format!("in {}", sources::PATH));
    }
    if !sources::missing(facts.root()) {
        return Finding::skipped("this clone names no place to fetch them from");
    }
    let by_hand = format!("git submodule update --init {}", sources::PATH);
    Finding::warn("the sources are missing: the service runs, but generates nothing")
        .remedy("Fetch them, and put them into the image.", &[&by_hand, "cargo xtask up"])
        .fix(Fix::Sources)
}

pub fn requirements(facts: &Facts) -> Finding {
    match facts.pins() {
        Err(trouble) => Finding::of(&trouble),
        Ok(pins) => match pins.get("torch") {
            Some(pin) => Finding::ok(format!("torch {pin}, {} pins in all", pins.len())),
            None => Finding::warn(format!("{PATH} pins no torch"))
                .remedy("Write `torch==<version>` there, so that nothing else pulls another.", &[]),
        },
    }
}

/// Whether the service can publish its port, if it does not already.
pub fn port(facts: &Facts) -> Finding {
    let (project, container) = match (facts.project(), facts.container()) {
        (Ok(project), Ok(container)) => (project, container),
        (Err(trouble), _) | (_, Err(trouble)) => return Finding::unknown(&trouble),
    };
    if project.ports.is_empty() {
        return Finding::skipped("the service publishes none");
    }
    let ports = project.ports.join(", ");
    if preflight::to_publish(project, container).next().is_none() {
        return Finding::ok(format!("{ports}, held by our container"));
    }
    match (facts.some_image(), facts.port()) {
        (Ok(None), _) => Finding::skipped("no image is at hand to try it with"),
        (_, Ok(None)) => Finding::ok(format!("{ports} is free")),
        (_, Err(trouble)) => Finding::unknown(&trouble),
        (_, Ok(Some((_, trouble)))) if trouble.remedy == Remedy::default() => {
            Finding::unknown(trouble)
        }
        (_, Ok(Some((address, trouble)))) if !trouble.says.contains("is taken") => {
            Finding::of(trouble).found(address)
        }
        (_, Ok(Some((address, trouble)))) => {
            let number = address.rsplit(':').next().unwrap_or_default();
            let who =
                format!("docker ps --filter publish={number}   # whether a container holds it");
            Finding::fail(&trouble.says).found(address).remedy(
                "End what holds it, or name a free port by BACKEND_PORT in .env.",
                &[&who, "cargo xtask up"],
            )
        }
    }
}

/// Free disk where the engine stores images: short of it is a fault only if a
/// full build is due.
pub fn disk(facts: &Facts) -> Finding {
    let free = match facts.machine() {
        Ok(machine) => machine.and_then(|machine| machine.free),
        Err(trouble) => return Finding::unknown(&trouble),
    };
    let Some(free) = free else {
        return Finding::skipped("no image or container is at hand to look with");
    };
    let found = format!("{} free on the engine's machine", report::size(free));
    let due = matches!(facts.image(), Ok(None));
    let status = match (free >= BUILD, due) {
        (true, _) => Status::Ok,
        (false, true) => Status::Fail,
        (false, false) => Status::Warn,
    };
    let finding = Finding::new(status, &found).found(found);
    let finding = match status {
        Status::Ok => finding,
        _ => finding.remedy(
            "A full build needs about 20 GB. Remove what you no longer need there.",
            &["docker system df   # what Docker holds"],
        ),
    };
    finding.expected(format!("{} for a full build", report::size(BUILD)))
}

pub fn memory(facts: &Facts) -> Finding {
    match facts.engine() {
        Err(trouble) => Finding::unknown(&trouble),
        Ok(engine) if engine.memory == 0 => Finding::skipped("the engine does not say"),
        Ok(engine) => {
            let found = format!("{} on the engine's machine", report::size(engine.memory));
            let finding = match engine.memory {
                MEMORY.. => Finding::ok(&found),
                _ => Finding::warn(&found).found(&found).remedy(
                    "Give the machine, or Docker Desktop's, more: the build and the model may be killed.",
                    &[],
                ),
            };
            finding.expected(format!("{} or more", report::size(MEMORY)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::{Container, Engine, Image, Machine, Project};
    use crate::image::requirements;

    fn project() -> Project {
        Project::parse(r#"{"name":"p","services":{"backend":{"ports":[{"host_ip":"127.0.0.1","published":"8000"}]}}}"#).unwrap()
    }

    #[test]
    fn env_files_of_every_kind() {
        let file = |names: Option<&[(&str, bool)]>, example: &[&str]| EnvFile {
            names: names.map(|names| names.iter().map(|(n, e)| ((*n).to_owned(), *e)).collect()),
            example: example.iter().map(|name| (*name).to_owned()).collect(),
            has_example: true,
            wrong_device: false,
        };
        let not_found = "env file /r/.env not found: stat /r/.env: no such file or directory";
        for (file, trouble, status, message, fix) in [
            (file(None, &[]), None, Status::Ok, "none, and none is needed", None),
            (
                file(None, &["A"]),
                None,
                Status::Warn,
                "missing; .env.example sets A",
                Some(Fix::EnvFile),
            ),
            (
                file(None, &[]),
                Some(not_found),
                Status::Fail,
                "the compose file needs it",
                Some(Fix::EnvFile),
            ),
            (file(Some(&[("A", false)]), &["A"]), None, Status::Ok, "1 setting", None),
            (file(Some(&[("A", false)]), &["A", "B"]), None, Status::Warn, "lacks B, which", None),
            (
                file(Some(&[("CUDA_VISIBLE_DEVICES", true)]), &[]),
                None,
                Status::Warn,
                "empty, which hides every GPU",
                None,
            ),
            (
                EnvFile { wrong_device: true, ..file(None, &[]) },
                None,
                Status::Fail,
                "none of gpu, cpu and auto",
                None,
            ),
        ] {
            let facts = Facts::none().with_env_file(Ok(file.clone()));
            let facts = facts.with_project(trouble.map_or(Ok(project()), Err));
            let finding = env(&facts);
            assert_eq!((finding.status, finding.fix), (status, fix), "{file:?}");
            assert!(finding.message.contains(message), "{}", finding.message);
            assert!(status == Status::Ok || finding.remedy.is_some());
        }
        let handed_on = Project { visible_devices: Some(String::new()), ..project() };
        let facts =
            Facts::none().with_env_file(Ok(file(Some(&[]), &[]))).with_project(Ok(handed_on));
        assert_eq!(env(&facts).status, Status::Warn);
    }

    #[test]
    fn compose_files_and_requirements() {
        assert_eq!(compose_file(&Facts::none().with_project(Ok(project()))).status, Status::Ok);
        assert_eq!(
            compose_file(&Facts::none().with_project(Err("no service"))).status,
            Status::Fail
        );
        let pins =
            |text: &str| requirements(&Facts::none().with_pins(Ok(requirements::pins(text))));
        assert_eq!(pins("torch==2.5.1\nnumpy==1.26.4"), Finding::ok("torch 2.5.1, 2 pins in all"));
        assert_eq!(pins("numpy==1.26.4").status, Status::Warn);
        assert_eq!(requirements(&Facts::none().with_pins(Err("unreadable"))).status, Status::Fail);
    }

    #[test]
    fn a_port_is_free_ours_or_taken() {
        let running = |address: &str| {
            let asks_for = vec![address.to_owned()];
            Some(Container { state: "running".into(), asks_for, ..Container::default() })
        };
        let refused = |stderr: &str| {
            let failure = crate::error::Failure::of_command("docker run", 125, stderr);
            Ok(Some(("127.0.0.1:8000".to_owned(), anyhow::Error::from(failure).into())))
        };
        type Port = Option<(String, crate::doctor::finding::Trouble)>;
        let with =
            |container: Option<Container>, taken: Result<Port, &str>, image: Option<Image>| {
                port(
                    &Facts::none()
                        .with_project(Ok(project()))
                        .with_container(Ok(container))
                        .with_image(Ok(image))
                        .with_port(taken),
                )
            };
        let image = Some(Image::default());
        assert!(
            with(running("0.0.0.0:8000"), Err("never asked"), image.clone())
                .message
                .contains("our container")
        );
        assert_eq!(with(None, Ok(None), image.clone()).message, "127.0.0.1:8000 is free");
        for (container, answer, status) in [
            (
                None,
                refused("Bind for 127.0.0.1:8000 failed: port is already allocated"),
                Status::Fail,
            ),
            // Ours publishes another port than the compose file wants.
            (running("127.0.0.1:18200"), refused("address already in use"), Status::Fail),
            (
                None,
                refused("listen tcp4 203.0.113.9:8000: bind: cannot assign requested address"),
                Status::Fail,
            ),
            (None, refused("something new"), Status::Error),
            (None, Err("docker gave no answer"), Status::Error),
        ] {
            assert_eq!(with(container, answer, image.clone()).status, status);
        }
    }

    #[test]
    fn little_disk_is_a_fault_only_before_the_first_build() {
        let with = |free: Option<u64>, image: Option<Image>| {
            let machine = Machine { free, ..Machine::default() };
            disk(&Facts::none().with_machine(Ok(Some(machine))).with_image(Ok(image))).status
        };
        assert_eq!(with(Some(30_000_000_000), None), Status::Ok);
        assert_eq!(with(Some(3_000_000_000), None), Status::Fail);
        assert_eq!(with(Some(3_000_000_000), Some(Image::default())), Status::Warn);
        assert_eq!(with(None, None), Status::Skipped);
        assert_eq!(disk(&Facts::none().with_machine(Ok(None))).status, Status::Skipped);
    }

    #[test]
    fn memory_is_the_engines() {
        let with = |memory| memory_of(Engine { memory, ..Engine::default() });
        fn memory_of(engine: Engine) -> Status {
            memory(&Facts::none().with_engine(Ok(engine))).status
        }
        assert_eq!(
            [with(16 << 30), with(4 << 30), with(0)],
            [Status::Ok, Status::Warn, Status::Skipped]
        );
    }
}
