//! A minimal HTTP client: one GET of a port that the service publishes.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

/// For the whole exchange.
const CAP: Duration = Duration::from_secs(5);

/// Bytes of the longest answer that is read; a report of health is shorter.
const LONGEST: usize = 1 << 20;

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `host:port` that was asked.
    pub address: String,
    pub status: u32,
    pub body: String,
}

impl Answer {
    /// Whether the service says that its model is loaded.
    pub fn is_ready(&self) -> bool {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.status == 200 && body["model"] == "ready"
    }
}

/// What follows the scheme of an endpoint on another machine; none for one here.
pub fn remote(endpoint: &str) -> Option<&str> {
    let (scheme, rest) = endpoint.split_once("://")?;
    if ["tcp", "ssh"].contains(&scheme) { Some(rest) } else { None }
}

/// The address at which this machine reaches a port that the engine published on
/// `address`. Ports bound to its loopback or to all addresses are at the engine's host.
pub fn from_here(address: &str, endpoint: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    if !["127.0.0.1", "0.0.0.0", "[::]", "[::1]"].contains(&host) {
        return address.to_owned();
    }
    let Some(rest) = remote(endpoint) else {
        let local = if host.starts_with('[') { "[::1]" } else { "127.0.0.1" };
        return format!("{local}:{port}");
    };
    // `user@machine:port/path`
    let machine = rest.split('/').next().unwrap_or_default();
    let machine = machine.rsplit('@').next().unwrap_or_default();
    let with_port = machine.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let bare = with_port.map_or(machine, |(bare, _)| bare);
    format!("{bare}:{port}")
}

/// Whether anything answers there in HTTP, whatever it says.
pub fn speaks(address: &str, cap: Duration) -> bool {
    let ask = || -> Result<[u8; 5]> {
        let mut stream = send(address, "/", cap)?;
        stream.set_read_timeout(Some(cap))?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    ask().is_ok_and(|start| &start == b"HTTP/")
}

/// Asks for `path` once. An answer whose body does not end in time counts, too.
/// Fails when nothing listens there, or the answer is not HTTP.
pub fn get(address: &str, path: &str) -> Result<Answer> {
    exchange(address, path, CAP).with_context(|| format!("asking http://{address}{path}"))
}

fn exchange(address: &str, path: &str, cap: Duration) -> Result<Answer> {
    let started = Instant::now();
    let mut stream = send(address, path, cap)?;
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    let ended = loop {
        // What is left of it, however slowly the server writes; nothing left is an error.
        let left = cap.saturating_sub(started.elapsed());
        match stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut block)) {
            Ok(n @ 1..) if bytes.len() < LONGEST => bytes.extend_from_slice(&block[..n]),
            end => break end,
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        if started.elapsed() < cap {
            ended?;
        }
        bail!("the answer is not HTTP, or took more than {} s", cap.as_secs());
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.context("the answer is not HTTP")?;
    Ok(Answer { address: address.to_owned(), status, body: body.to_owned() })
}

/// Asks, and leaves the answer to be read. In HTTP 1.0 its body is not chunked and ends with
/// the connection.
fn send(address: &str, path: &str, cap: Duration) -> Result<TcpStream> {
    let mut stream = connect(address, cap)?;
    stream.set_write_timeout(Some(cap))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// Connects to the first of a host's addresses that answers.
fn connect(address: &str, cap: Duration) -> Result<TcpStream> {
    let mut failure = anyhow!("the host has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, cap) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A server that writes `parts` with a pause after each, and hangs up then or not.
    fn server(parts: &'static [&'static str], hangs_up: bool) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            for part in parts {
                let _ = stream.write_all(part.as_bytes());
                std::thread::sleep(Duration::from_millis(100));
            }
            if !hangs_up {
                std::thread::sleep(Duration::from_secs(60));
            }
        });
        address
    }

    #[test]
    fn a_server_has_one_cap_for_all_it_says() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        const BARE: &str = "HTTP/1.1 503 x\r\n\r\n";
        const SLOW: &[&str] = &["H"; 100];
        let rows = [
            (&[HEAD, "{}"][..], false, Some((200, "{}"))),
            (&[HEAD, "{"], false, Some((200, "{"))),
            (&[BARE, "a", "b"], true, Some((503, "ab"))),
            (&[BARE, "a"], false, Some((503, "a"))),
            (&["HTTP/1.1 200"], false, None),
            (SLOW, false, None),
            (&["SSH-2.0-x\r\n"], true, None),
        ];
        thread::scope(|scope| {
            for (parts, hangs_up, want) in rows {
                scope.spawn(move || {
                    let started = Instant::now();
                    let answer =
                        exchange(&server(parts, hangs_up), "/health", Duration::from_secs(1));
                    assert!(started.elapsed() < Duration::from_secs(3), "{parts:?}");
                    let got = answer.as_ref().ok().map(|answer| (answer.status, &*answer.body));
                    assert_eq!(got, want, "{parts:?} {answer:?}");
                });
            }
        });
    }

    #[test]
    fn only_a_success_that_says_so_is_ready() {
        for (status, body, want) in [
            (200, r#"{"model": "ready"}"#, true),
            (503, r#"{"model": "ready"}"#, false),
            (200, r#"{"model": "loading"}"#, false),
            (200, "ready", false),
        ] {
            let answer = Answer { address: String::new(), status, body: body.to_owned() };
            assert_eq!(answer.is_ready(), want, "{answer:?}");
        }
    }

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
