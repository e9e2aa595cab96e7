//! As much of HTTP as asking one's own service how it is takes.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// For the connection, and again for each block of the answer.
const CAP: Duration = Duration::from_secs(5);

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `host:port` that was asked.
    pub address: String,
    pub status: u32,
    pub body: String,
}

/// The address under which a port that the engine published on `address` is
/// reached from here: what is bound to the engine's machine alone, or to all of
/// its addresses, is at the engine's host.
pub fn from_here(address: &str, endpoint: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    if !["127.0.0.1", "0.0.0.0", "[::]", "[::1]"].contains(&host) {
        return address.to_owned();
    }
    let remote = endpoint.split_once("://").filter(|(scheme, _)| ["tcp", "ssh"].contains(scheme));
    let Some((_, rest)) = remote else {
        let local = if host.starts_with('[') { "[::1]" } else { "127.0.0.1" };
        return format!("{local}:{port}");
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let machine = rest.rsplit_once('@').map_or(rest, |(_, machine)| machine);
    let bare = match machine.rsplit_once(':') {
        Some((bare, number)) if number.chars().all(|c| c.is_ascii_digit()) => bare,
        _ => machine,
    };
    format!("{bare}:{port}")
}

/// Asks for `path` once.
///
/// # Errors
/// When nobody listens there, or what answers speaks no HTTP.
pub fn get(address: &str, path: &str) -> Result<Answer> {
    let asking = || format!("asking http://{address}{path}");
    let resolved = address
        .to_socket_addrs()
        .with_context(asking)?
        .next()
        .context("the host has no address")?;
    let mut stream = TcpStream::connect_timeout(&resolved, CAP).with_context(asking)?;
    stream.set_read_timeout(Some(CAP))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(asking)?;
    let mut bytes = Vec::new();
    // More than this is no answer to how one is.
    stream.take(1 << 20).read_to_end(&mut bytes).with_context(asking)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.context("the answer is not HTTP").with_context(asking)?;
    Ok(Answer { address: address.to_owned(), status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_engines_ports_are_at_its_host() {
        for (address, endpoint, want) in [
            ("127.0.0.1:8000", "unix:///var/run/docker.sock", "127.0.0.1:8000"),
            ("0.0.0.0:8000", "npipe:////./pipe/docker_engine", "127.0.0.1:8000"),
            ("[::]:8000", "unix:///x", "[::1]:8000"),
            ("0.0.0.0:8000", "tcp://gpu.example:2376", "gpu.example:8000"),
            ("127.0.0.1:8000", "ssh://me@gpu.example", "gpu.example:8000"),
            ("0.0.0.0:8000", "tcp://[fd00::1]:2376", "[fd00::1]:8000"),
            ("192.0.2.7:8000", "tcp://gpu.example:2376", "192.0.2.7:8000"),
        ] {
            assert_eq!(from_here(address, endpoint), want, "{address} {endpoint}");
        }
    }
}
