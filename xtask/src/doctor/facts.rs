//! What doctor's checks are judged by: gathered once, independent questions at
//! the same time. Nothing here decides what is well.

use std::{path::Path, thread};

use anyhow::{Result, anyhow};

use crate::{
    compose::{Docker, Engine, Project, files},
    decide::ContainerState,
    device::{self, Device},
    requirements,
    state::{self, Ground, State},
    torch::{PROBE, Report},
};

/// Answers, each an error where nobody could say.
pub struct Facts {
    /// Whether there is a docker CLI.
    pub cli: Result<()>,
    pub engine: Result<Engine>,
    pub compose_version: Result<String>,
    pub buildx_version: Result<String>,
    pub project: Result<Project>,
    pub device: Result<Device>,
    pub state: Result<State>,
    /// torch's pin, where there is one.
    pub torch_pin: Result<Option<String>>,
    /// What the probe says in the running container or, failing that, in the image.
    pub python: Result<Report>,
}

impl Facts {
    /// Nothing known yet.
    pub fn none() -> Facts {
        let unasked = || anyhow!("not asked, since what it needs is missing");
        Facts {
            cli: Err(unasked()),
            engine: Err(unasked()),
            compose_version: Err(unasked()),
            buildx_version: Err(unasked()),
            project: Err(unasked()),
            device: Err(unasked()),
            state: Err(unasked()),
            torch_pin: Err(unasked()),
            python: Err(unasked()),
        }
    }
}

/// Gathers the facts about the clone at `root`; changes nothing.
pub fn gather(root: &Path) -> Facts {
    let mut facts = Facts::none();
    let docker = match Docker::new(root.to_owned()) {
        Ok(docker) => docker,
        Err(error) => return Facts { cli: Err(error), ..facts },
    };
    facts.cli = Ok(());
    facts.torch_pin =
        requirements::read(root).map(|text| requirements::pins(&text).remove("torch"));
    thread::scope(|scope| {
        let ask = |question: fn(&Docker) -> Result<String>| {
            let docker = docker.clone();
            scope.spawn(move || question(&docker))
        };
        let compose = ask(Docker::compose_version);
        let buildx = ask(Docker::buildx_version);
        (facts.engine, facts.project) = Ground::ask(&docker);
        facts.compose_version = state::join(compose);
        facts.buildx_version = state::join(buildx);
    });
    if let (Ok(engine), Ok(project)) = (&facts.engine, &facts.project) {
        let ground = Ground { engine: engine.clone(), project: project.clone() };
        look_at_service(root, &docker, &ground, &mut facts);
    }
    facts
}

fn look_at_service(root: &Path, docker: &Docker, ground: &Ground, facts: &mut Facts) {
    let setting = files::setting(root, device::SETTING).and_then(|s| device::forced(s.as_deref()));
    let observe = |device| state::observe_on(device, root, docker, ground.clone());
    facts.state = setting.and_then(observe);
    facts.device = match &facts.state {
        Ok(state) => Ok(state.device),
        // A card out of reach hides nothing else: look on as if on the CPU.
        Err(_) => {
            let on_cpu = observe(Some(Device::Cpu("")));
            match std::mem::replace(&mut facts.state, on_cpu) {
                Err(error) if facts.state.is_ok() => Err(error),
                _ => Ok(Device::Unknown),
            }
        }
    };
    if let Ok(state) = &facts.state {
        // In a container that comes and goes a probe would be cut short.
        let lasting =
            [ContainerState::Serving, ContainerState::Starting, ContainerState::Unhealthy]
                .contains(&state.situation.container);
        let running = state.container.as_ref().filter(|_| lasting);
        facts.python = match (running, &state.image) {
            (Some(container), _) => {
                docker.python_in_container(container, PROBE).map(|it| Report::parse(&it))
            }
            (None, Some(image)) => {
                docker.python_in_image(&image.id, PROBE).map(|it| Report::parse(&it))
            }
            (None, None) => return,
        };
    }
}
