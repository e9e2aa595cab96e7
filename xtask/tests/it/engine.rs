//! An engine of a test's own, which can be stopped, killed, or run out of disk
//! without harm to others. It needs root on Linux, and `dockerd`.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::Run,
    service::{full, has_engine, required, skipped},
};

/// The image that the tests' images are built on.
pub const BASE: &str = "debian:bookworm-slim";

/// Runs in a network of its own and on a disk of its own, in memory; removed
/// with all its containers when dropped.
pub struct Engine {
    directory: PathBuf,
    /// The parent of `dockerd`.
    process: Child,
}

impl Engine {
    /// Starts it with [`BASE`] on a disk of that many megabytes; none, and said
    /// so, where that cannot be done.
    pub fn start(megabytes: u32) -> Option<Engine> {
        if !full() || !has_engine() {
            return None;
        }
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        let dockerd = Command::new("dockerd").arg("--version").stdout(Stdio::null()).status();
        if !cfg!(target_os = "linux") || !root || dockerd.is_err() {
            assert!(!required(), "an engine of one's own needs root on Linux, and dockerd");
            skipped("an engine of its own needs root on Linux, and dockerd");
            return None;
        }
        let name = thread::current().name().unwrap_or_default().replace(':', "-");
        // Not below TMPDIR: the path of a socket ends at 108 bytes.
        let directory = PathBuf::from(format!("/tmp/xtask-engine-{}-{name}", std::process::id()));
        fs_err::create_dir_all(directory.join("disk")).unwrap();
        fs_err::write(directory.join("daemon.json"), "{}").unwrap();
        let (size, disk) = (format!("size={megabytes}m"), directory.join("disk"));
        let mount = ["-t", "tmpfs", "-o", &size, "none"];
        let mounted = Command::new("mount").args(mount).arg(disk).status();
        assert!(mounted.unwrap().success(), "mounting a disk in memory");
        let process = spawn(&directory);
        let engine = Engine { directory, process };
        engine.wait_until_it_answers();
        let hand_over = format!("docker save {BASE} | DOCKER_HOST={} docker load", engine.host());
        let loaded = Command::new("sh").args(["-c", &hand_over]).stdout(Stdio::null()).status();
        assert!(loaded.unwrap().success(), "handing over {BASE}");
        Some(engine)
    }

    /// What DOCKER_HOST has to be.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// Ends it, and with it all that it has started. Containers that are to
    /// run come up again with it.
    pub fn stop(&mut self, signal: &str) {
        let parent = self.process.id();
        let children = fs_err::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        if let Some(dockerd) = children.iter().flat_map(|pids| pids.split_whitespace()).next() {
            let kill = format!("kill -{signal} {dockerd}");
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
        let _ = self.process.wait();
    }

    /// Starts it again, on the same disk.
    pub fn start_again(&mut self) {
        self.process = spawn(&self.directory);
        self.wait_until_it_answers();
    }

    /// Bytes used on its disk.
    pub fn disk_used(&self) -> u64 {
        let disk = self.directory.join("disk").display().to_string();
        let mut df = Command::new("df");
        df.args(["--block-size=1", "--output=used", &disk]);
        Run::of(df).ok().lines().last().unwrap().trim().parse().unwrap()
    }

    pub fn docker(&self, args: &[&str]) -> Run {
        let mut docker = Command::new("docker");
        docker.args(args).env("DOCKER_HOST", self.host());
        Run::of(docker)
    }

    fn wait_until_it_answers(&self) {
        let started = Instant::now();
        while self.docker(&["version", "--format", "{{.Server.Version}}"]).code != Some(0) {
            let log = fs_err::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(60), "dockerd did not start:\n{log}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// As the first process of its own process table: nothing outlives it. In a
/// network of its own: it would take the bridge of another engine.
fn spawn(directory: &Path) -> Child {
    let at = |name: &str| directory.join(name).display().to_string();
    // Those of an engine that was killed.
    let _ = fs_err::remove_dir_all(at("exec"));
    let _ = fs_err::remove_file(at("pid"));
    let log = fs_err::File::create(at("log")).unwrap().into_parts().0;
    // It goes also where the test is killed.
    Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "dockerd",
        ])
        .args(["--config-file", &at("daemon.json"), "--data-root", &at("disk")])
        .args(["--exec-root", &at("exec"), "--pidfile", &at("pid")])
        .args(["--host", &format!("unix://{}", at("docker.sock"))])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop("KILL");
        let _ = Command::new("umount").arg(self.directory.join("disk")).status();
        let _ = fs_err::remove_dir_all(&self.directory);
    }
}
