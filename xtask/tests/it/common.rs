//! A clone of a small repository to run xtask in, hermetically.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A temporary repository: `backend/` with requirements, a Dockerfile and a
/// program, and a compose file that asks for a GPU. Removed when dropped.
pub struct Repo {
    /// Below a directory of its own; its name has a space and is not ASCII.
    pub root: PathBuf,
    /// What xtask sees of the environment, and all of it.
    pub env: Vec<(String, String)>,
}

pub const COMPOSE_FILE: &str = "\
services:
  backend:
    build: ./backend
    init: true
    env_file: [{path: .env, required: false}]
    healthcheck: {test: [CMD, test, -f, /tmp/ready], interval: 5s}
    restart: unless-stopped
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}
";

pub const DOCKERFILE: &str = "\
FROM debian:bookworm-slim
COPY marker /marker
COPY python3 /usr/local/bin/python3
COPY requirements.txt /requirements.txt
COPY app.sh /app.sh
CMD [\"sh\", \"/app.sh\"]
";

/// Becomes healthy at once and ends on SIGTERM.
pub const APP: &str = "\
trap 'exit 0' TERM
touch /tmp/ready
echo serving
while :; do sleep 0.1 & wait $!; done
";

/// Stands in for Python in the tiny image: answers xtask's probe with the
/// torch that /torch or else /requirements.txt names.
pub const PYTHON: &str = r#"#!/bin/sh
cat > /dev/null # As Python, which reads its script to the end.
v=$(cat /torch 2>/dev/null || sed -n 's/^torch==//p' /requirements.txt)
echo "{\"python\": \"3.11\", \"packages\": {\"torch\": \"$v\"}, \"unmet\": []}"
echo "{\"torch\": \"$v\", \"cuda\": \"12.4\", \"custom_fwd\": true, \"devices\": []}"
"#;

impl Repo {
    /// # Panics
    /// When the temporary directory can't be written.
    pub fn new() -> Repo {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let root =
            std::env::temp_dir().join(format!("xtask-test-{}-{n}/my clôné", std::process::id()));
        let _ = fs_err::remove_dir_all(&root);
        let manifest = root.join("xtask").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut env = vec![("CARGO_MANIFEST_DIR".to_owned(), manifest), ("PATH".to_owned(), path)];
        for key in ["HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"] {
            env.extend(std::env::var(key).ok().map(|value| (key.to_owned(), value)));
        }
        let repo = Repo { root, env };
        fs_err::create_dir_all(repo.root.join("xtask")).unwrap();
        repo.write("docker-compose.yml", COMPOSE_FILE);
        repo.write("docker-compose.cpu.yml", include_str!("../../../docker-compose.cpu.yml"));
        repo.write("backend/Dockerfile", DOCKERFILE);
        // BuildKit would hand one test's layers to another that builds the same.
        repo.write("backend/marker", &format!("{} {n}\n", std::process::id()));
        repo.write("backend/requirements.txt", "torch==2.5.1\n");
        repo.write("backend/app.sh", APP);
        repo.write("backend/python3", PYTHON);
        executable(&repo.root.join("backend/python3"));
        repo
    }

    /// Writes a file below the root.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Sets a variable of xtask's environment.
    pub fn set(&mut self, key: &str, value: &str) {
        self.env.retain(|(old, _)| old != key);
        self.env.push((key.to_owned(), value.to_owned()));
    }

    /// A command in this repository's environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(&self.root)
            .env_clear()
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs xtask to its end.
    pub fn xtask(&self, args: &[&str]) -> Run {
        Run::of(self.command(env!("CARGO_BIN_EXE_xtask"), args))
    }
}

impl Drop for Repo {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(self.root.parent().unwrap());
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Run {
    pub fn of(mut command: Command) -> Run {
        Run::from(command.output().unwrap())
    }

    /// Everything as one text, with what differs from run to run replaced:
    /// digests by `<digest>`, and seconds by `<time>`.
    pub fn text(&self) -> String {
        let stable = |text: &str| -> String {
            let words = text.split_inclusive([' ', '\n', ':', '-', '.', '"']);
            words
                .map(|word| {
                    let (bare, end) = word.split_at(
                        word.len() - usize::from(word.ends_with([' ', '\n', ':', '-', '.', '"'])),
                    );
                    let digest = bare.len() >= 16 && bare.chars().all(|c| c.is_ascii_hexdigit());
                    if digest { format!("<digest>{end}") } else { word.to_owned() }
                })
                .collect()
        };
        let code = self.code.map_or("signal".to_owned(), |code| code.to_string());
        format!("{}--- stderr\n{}--- exit {code}\n", stable(&self.stdout), stable(&self.stderr))
    }

    /// Asserts a success and returns the standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text());
        self.stdout
    }

    /// Asserts an exit code and that the output holds all of `texts`.
    #[track_caller]
    pub fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text());
        for text in texts {
            assert!(
                self.stderr.contains(text) || self.stdout.contains(text),
                "`{text}` is not in:\n{}",
                self.text()
            );
        }
    }
}

/// A command under way, whose output is read along.
pub struct Running {
    pub child: Child,
    stdout: (JoinHandle<()>, Arc<Mutex<Vec<u8>>>),
    stderr: (JoinHandle<()>, Arc<Mutex<Vec<u8>>>),
}

impl Running {
    pub fn of(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Running { child, stdout: read_along(stdout), stderr: read_along(stderr) }
    }

    /// Whether it has written `text` by now.
    pub fn says(&self, text: &str) -> bool {
        let has = |so_far: &Mutex<Vec<u8>>| {
            String::from_utf8_lossy(&so_far.lock().unwrap()).contains(text)
        };
        has(&self.stdout.1) || has(&self.stderr.1)
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let status = self.child.wait().unwrap();
        let [stdout, stderr] = [self.stdout, self.stderr].map(|(thread, so_far)| {
            thread.join().unwrap();
            std::mem::take(&mut *so_far.lock().unwrap())
        });
        Run::from(Output { status, stdout, stderr })
    }
}

fn read_along(mut pipe: impl Read + Send + 'static) -> (JoinHandle<()>, Arc<Mutex<Vec<u8>>>) {
    let so_far = Arc::<Mutex<Vec<u8>>>::default();
    let all = so_far.clone();
    let thread = thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(n @ 1..) = pipe.read(&mut block) {
            all.lock().unwrap().extend_from_slice(&block[..n]);
        }
    });
    (thread, so_far)
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

/// Sends a signal to a process, by the shell's own `kill`: a small system has no
/// other.
pub fn kill(signal: &str, process: u32) {
    let kill = format!("kill -{signal} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
}

/// The same to a process group.
pub fn kill_group(signal: &str, group: u32) {
    let kill = format!("kill -{signal} -{group}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
}

pub fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
