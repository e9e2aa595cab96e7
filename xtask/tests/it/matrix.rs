//! The matrix of faults: what was caused, what met it, and what is left.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{self, Run, Running},
    service::Service,
};

/// The faults so far, met by one service after the other.
pub struct Matrix {
    pub service: Service,
    /// The service as it serves before a fault.
    pub before: String,
    lines: Vec<String>,
}

impl Matrix {
    pub fn new(service: Service) -> Matrix {
        let before = service.fingerprint();
        Matrix { service, before, lines: Vec::new() }
    }

    /// Asks the way the healthcheck asks.
    pub fn answers(&self) -> bool {
        let container = self.service.container();
        let check = self.service.inspect(&container, "{{json .Config.Healthcheck.Test}}");
        let check: Vec<String> = serde_json::from_str(&check).unwrap_or_default();
        let words = check.iter().skip(1).map(String::as_str);
        let ask: Vec<_> = ["exec", &container].into_iter().chain(words).collect();
        Run::of(self.service.command("docker", &ask)).code == Some(0)
    }

    /// Containers beyond the one that serves, images of ours without a name or
    /// under construction, and files half written.
    fn left_over(&self) -> Vec<String> {
        let service = &self.service;
        let project = format!("label=com.docker.compose.project={}", service.project);
        let building = format!("reference=localhost/xtask/{}-backend:building-*", service.project);
        let list = |args: &[&str]| service.docker(args).lines().map(str::to_owned).collect();
        let mut all: Vec<String> =
            list(&["ps", "--all", "--filter", &project, "--format", "{{.Names}}"]);
        // Not the service's own, a service that it depends on, nor another container of the
        // same image. A swap that was cut short leaves the service's own another name.
        let name = service.inspect(&service.container(), "{{.Name}}");
        let own = [name.trim_start_matches('/').to_owned(), format!("{}-db-1", service.project)];
        let ours = ["xtask-", &service.project];
        all.retain(|name| ours.iter().any(|ours| name.contains(ours)) && !own.contains(name));
        for filter in
            [&["--filter", "dangling=true", "--filter", &project][..], &["--filter", &building]]
        {
            all.extend::<Vec<_>>(list(&[&["images", "--quiet"], filter].concat()));
        }
        let files = fs_err::read_dir(service.root.join("target/xtask")).into_iter().flatten();
        let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
        all.extend(names.filter(|name| name != "memory.json"));
        all
    }

    /// Whether a build has left an image that is not used.
    pub fn under_construction(&self) -> bool {
        let building =
            format!("reference=localhost/xtask/{}-backend:building-*", self.service.project);
        !self.service.docker(&["images", "--quiet", "--filter", &building]).is_empty()
    }

    pub fn note(&mut self, fault: &str, command: &str, run: &Run) {
        let (answers, started) = (self.answers(), Instant::now());
        let mut left_over = self.left_over();
        // What the engine is about to remove is not left over.
        while !left_over.is_empty() && started.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(200));
            left_over = self.left_over();
        }
        let count = left_over.len();
        let code = run.code.map_or("signal".to_owned(), |code| code.to_string());
        let serves = if answers { "yes" } else { "no" };
        // What succeeds is no fault, but an unusual case that works.
        let kind = if run.code == Some(0) { "works" } else { "fault" };
        self.lines.push(format!("{kind} {fault:<46} {command:<9} {code:>4}   {serves:<6} {count}"));
        assert!(left_over.is_empty(), "left over after {fault}: {left_over:?}: {}", run.text());
    }

    /// A fault before the swap: it is said, and the very process still serves.
    #[track_caller]
    pub fn refused(&mut self, fault: &str, args: &[&str], run: &Run, texts: &[&str]) {
        assert_ne!(run.code, Some(0), "{fault}: {}", run.text());
        // Where nothing better is known, the hint is doctor: that is no next step.
        let hints: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("hint: ")).collect();
        assert!(
            run.stderr.contains("error: ") && !matches!(&*hints, [] | ["hint: cargo xtask doctor"]),
            "{fault}: {}",
            run.text()
        );
        run.fails(run.code.unwrap_or(-1), texts);
        self.note(fault, args[0], run);
        assert_eq!(self.service.fingerprint(), self.before, "{fault}: {}", run.text());
        assert!(self.answers(), "{fault}");
    }

    #[track_caller]
    pub fn refuses(&mut self, fault: &str, commands: &[&str], texts: &[&str]) {
        for command in commands {
            let run = self.service.xtask(&[command]);
            self.refused(fault, &[command], &run, texts);
        }
    }

    /// Something odd that is no fault: the command succeeds and it serves.
    #[track_caller]
    pub fn works(&mut self, oddity: &str, args: &[&str]) -> Run {
        let run = self.service.xtask(args);
        assert_eq!(run.code, Some(0), "{oddity}: {}", run.text());
        self.note(oddity, args[0], &run);
        assert!(self.answers(), "{oddity}");
        self.before = self.service.fingerprint();
        run
    }

    /// Runs a command and, when it is time, sends it a signal, as a terminal does
    /// `to_group`, or as `kill` does.
    pub fn signalled(
        &self,
        command: &str,
        signal: &str,
        to_group: bool,
        time: impl Fn(&Running) -> bool,
    ) -> Run {
        let running = self.service.start(&[command]);
        self.service.wait_until("the time for the signal", || time(&running));
        let kill = if to_group { common::kill_group } else { common::kill };
        kill(signal, running.child.id());
        running.end()
    }

    /// Prints past the test harness, which keeps a passing test's output.
    pub fn print(&self, title: &str) {
        let mut text = format!(
            "\n{title}\n      {:<46} {:<9} {:>4}   serves left over\n",
            "", "command", "exit"
        );
        for line in &self.lines {
            text += &format!("{line}\n");
        }
        text += &format!("{} cells\n", self.lines.len());
        let _ = std::io::stderr().write_all(text.as_bytes());
        // So that all of them can be read at the end of the run.
        if let Some(path) = std::env::var_os("XTASK_TEST_MATRIX") {
            let file = fs_err::OpenOptions::new().create(true).append(true).open(path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }
    }
}
