//! Tries before a swap what would fail in the middle of it: Compose takes the
//! old container down before it finds out about a GPU or a port.

use anyhow::Result;

use crate::{
    compose::{Container, Image},
    device::{self, Device},
    state::State,
};

/// Makes sure that a container of `image` in place of `container` could get the
/// GPU it will ask for and the ports it will publish. A port that the old
/// container holds becomes free.
///
/// # Errors
/// With what is not to be had; nothing was changed yet.
pub fn before_swap(state: &State, container: Option<&Container>, image: &Image) -> Result<()> {
    let docker = &state.docker;
    if state.device == Device::Gpu && !docker.hands_out_gpus(Some(image)) {
        return Err(device::out_of_reach(docker.nvidia_card(container, Some(image))));
    }
    let port = |address: &str| address.rsplit(':').next().map(str::to_owned);
    // One that crashes again and again holds its ports only now and then.
    let holds = |c: &&Container| ["running", "restarting", "paused"].contains(&&*c.state);
    let held: Vec<_> =
        container.filter(holds).iter().flat_map(|c| &c.asks_for).map(|at| port(at)).collect();
    let mut new = state.project.ports.iter().filter(|address| !held.contains(&port(address)));
    new.try_for_each(|address| docker.try_port(image, address))
}
