//! The matrix of faults: what was caused, what met it, and what is left.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{common::Run, service::Service};

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

    pub fn answers(&self) -> bool {
        let ready = ["exec", &self.service.container(), "test", "-f", "/tmp/ready"];
        Run::of(self.service.command("docker", &ready)).code == Some(0)
    }

    /// Containers beyond the one that serves, and images of ours without a name.
    fn left_over(&self) -> usize {
        let project = format!("label=com.docker.compose.project={}", self.service.project);
        let count = |args: &[&str]| {
            self.service
                .docker(&[args, &["--quiet", "--filter", &project]].concat())
                .lines()
                .count()
        };
        count(&["ps", "--all"]).saturating_sub(1) + count(&["images", "--filter", "dangling=true"])
    }

    pub fn note(&mut self, fault: &str, command: &str, run: &Run) {
        let (answers, left_over) = (self.answers(), self.left_over());
        let code = run.code.map_or("signal".to_owned(), |code| code.to_string());
        let serves = if answers { "yes" } else { "no" };
        self.lines.push(format!("{fault:<46} {command:<9} {code:>4}   {serves:<6} {left_over}"));
        assert_eq!(left_over, 0, "left over after {fault}: {}", run.text());
    }

    /// A fault before the swap: it is said, and the very process still serves.
    #[track_caller]
    pub fn refused(&mut self, fault: &str, args: &[&str], run: &Run, texts: &[&str]) {
        assert_ne!(run.code, Some(0), "{fault}: {}", run.text());
        assert!(
            run.stderr.contains("error: ") && run.stderr.contains("hint: "),
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
    pub fn bears(&mut self, oddity: &str, args: &[&str]) -> Run {
        let run = self.service.xtask(args);
        assert_eq!(run.code, Some(0), "{oddity}: {}", run.text());
        self.note(oddity, args[0], &run);
        assert!(self.answers(), "{oddity}");
        self.before = self.service.fingerprint();
        run
    }

    /// Runs a command and sends it a signal `after` milliseconds, as a terminal
    /// does `to_group`, or as `kill` does.
    pub fn signalled(&self, command: &str, signal: &str, to_group: bool, after: u64) -> Run {
        let mut xtask = self.service.command(env!("CARGO_BIN_EXE_xtask"), &[command]);
        std::os::unix::process::CommandExt::process_group(&mut xtask, 0);
        let child = xtask.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(after));
        let target = format!("{}{}", if to_group { "-" } else { "" }, child.id());
        Command::new("kill").args([signal, "--", &target]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        Run {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    /// Prints past the test harness, which keeps a passing test's output.
    pub fn print(&self, title: &str) {
        let mut text = format!(
            "\n{title}\n{:<46} {:<9} {:>4}   serves left over\n",
            "fault", "command", "exit"
        );
        for line in &self.lines {
            text += &format!("{line}\n");
        }
        let _ =
            std::io::stderr().write_all(format!("{text}{} cells\n", self.lines.len()).as_bytes());
    }
}
