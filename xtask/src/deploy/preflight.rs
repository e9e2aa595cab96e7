//! Tries before a swap what would fail in the middle of it: Compose takes the
//! old container down before it finds out about a GPU or a port.

use anyhow::Result;

use crate::deploy::device::{self, Device};
use crate::deploy::observe::State;
use crate::docker::{Container, Image, Project};
use crate::error::Failure;

/// Makes sure that a container of `image` in place of `container` could get the
/// GPU it will ask for and the ports it will publish. A port that the old
/// container holds becomes free.
///
/// # Errors
/// With what is not to be had; nothing was changed yet.
pub fn before_swap(state: &State, container: Option<&Container>, image: &Image) -> Result<()> {
    let docker = &state.docker;
    try_gpus(state, container, image)?;
    let mut new = to_publish(&state.project, container);
    new.try_for_each(|address| docker.try_port(image, address))
}

/// The addresses to publish that `container` does not hold already.
pub fn to_publish<'a>(
    project: &'a Project,
    container: Option<&'a Container>,
) -> impl Iterator<Item = &'a String> {
    // One that crashes again and again holds its ports only now and then.
    let holds = |c: &&Container| ["running", "restarting", "paused"].contains(&&*c.state);
    let held: Vec<&String> = container.filter(holds).iter().flat_map(|c| &c.asks_for).collect();
    project.ports.iter().filter(move |new| !held.iter().any(|old| meet(old, new)))
}

/// What the compose files ask for counts, on whatever device we think to be:
/// Compose asks the engine for no less.
fn try_gpus(state: &State, container: Option<&Container>, image: &Image) -> Result<()> {
    let docker = &state.docker;
    let asked = state.project.gpus.as_deref().filter(|_| !docker.adds_cpu_file());
    let on_gpu = state.device == Device::Gpu;
    let Some(gpus) = asked.or(on_gpu.then_some("all")) else { return Ok(()) };
    let Some(refusal) = docker.try_gpus(image, gpus)? else { return Ok(()) };
    let card = docker.nvidia_card(container, Some(image));
    if on_gpu && (card == Some(false) || asked.is_none()) {
        return Err(device::out_of_reach(card));
    }
    let cause = Failure::of_command(&format!("docker run --gpus {gpus}"), 1, &refusal);
    Err(Failure::new("the engine cannot hand out the GPUs that the service asks for")
        .advice("the compose file asks for them under `deploy.resources.reservations.devices`")
        .because(cause.into())
        .into())
}

/// Whether one address is in the other's way: the same number on the same host,
/// or on all of them. Pure.
fn meet(a: &str, b: &str) -> bool {
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
    fn an_address_is_in_the_way_of_another() {
        for (a, b, want) in [
            ("127.0.0.1:8000", "127.0.0.1:8000", true),
            ("127.0.0.1:8000", "0.0.0.0:8000", true),
            (":8000", "[::1]:8000", true),
            ("127.0.0.1:8000", "192.0.2.7:8000", false),
            ("127.0.0.1:8000", "127.0.0.1:8001", false),
        ] {
            assert_eq!((meet(a, b), meet(b, a)), (want, want), "{a} {b}");
        }
    }
}
