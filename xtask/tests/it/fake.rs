//! A fake `docker`, for machines and failures that no test machine has.
use crate::common::{Repo, Run, executable};

/// A repository, and a `docker` that logs its arguments and answers as told.
pub struct Fake {
    pub repo: Repo,
    /// Shell pattern over the arguments, exit code, stdout, stderr; the last
    /// that matches answers.
    answers: Vec<(String, i32, String, String)>,
    /// The same with a shell script that answers; these come first.
    scripts: Vec<(String, String)>,
}

pub const CONTAINER: &str = r#"[{"Id":"c1","Name":"/p-backend-1","Image":"sha256:a","RestartCount":0,
"State":{"Status":"running","ExitCode":0,"StartedAt":"2026-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"healthy"}},
"Config":{"Image":"p-backend","Labels":{"com.docker.compose.project":"p"},"Healthcheck":{"Test":["CMD","true"]}},"HostConfig":{"DeviceRequests":null,"Runtime":"runc"},
"NetworkSettings":{"Ports":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}}}]"#;

pub const PROBE: &str = r#"{"python": "3.11.2", "executable": "/usr/bin/python3", "packages": {"torch": "2.5.1+cu124"}, "unmet": []}
{"nodes": {}, "wsl": false, "visible": {"kind": "unset"}, "shm": 2147483648}
{"torch": "2.5.1+cu124", "cuda": "12.4", "custom_fwd": true}
{"devices": []}"#;

impl Fake {
    /// An engine on a machine without a card; the service runs from the
    /// current sources.
    pub fn serving() -> Fake {
        let mut fake = Fake { repo: Repo::new(), answers: Vec::new(), scripts: Vec::new() };
        let bin = fake.repo.root.join("bin");
        fake.repo.set("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
        let context = fake.repo.root.join("backend");
        let config = format!(
            r#"{{"name":"p","services":{{"backend":{{"build":{{"context":"{}","dockerfile":"Dockerfile"}}}}}}}}"#,
            context.display()
        );
        fake.engine(r#"{"runc":{}}"#, "6.1.0");
        fake.card("0x8086\n0x1af4\n");
        fake.answer("image inspect *:building-*", 1, "[]\n", "Error: No such image\n");
        for (pattern, stdout) in [
            ("compose*config --format json", &*config),
            ("ps --all*", "c1\n"),
            ("container inspect c1", CONTAINER),
            ("compose*--dry-run up*", " DRY-RUN MODE -  Container p-backend-1  Running\n"),
            ("exec --interactive c1 python3 -*", PROBE),
            ("compose exec -T backend python3 -*", PROBE),
            ("compose version", "Docker Compose version 2.26.1\n"),
            ("image ls*", ""),
            ("context inspect*", "unix:///var/run/docker.sock\n"),
            ("buildx version", "github.com/docker/buildx v0.13.1 788433953af1\n"),
        ] {
            fake.answer(pattern, 0, stdout, "");
        }
        // The name that the current sources give an image, in xtask's own words.
        fake.image(&[]);
        let plan = fake.xtask(&["fast", "--dry-run"]).ok();
        let tag = plan
            .lines()
            .filter_map(|line| line.strip_prefix("would run: docker tag ")?.split(' ').nth(1))
            .find(|name| name.starts_with("localhost/xtask/"))
            .unwrap();
        fake.image(&["p-backend:latest", tag]);
        fake
    }

    pub fn answer(&mut self, pattern: &str, code: i32, stdout: &str, stderr: &str) {
        self.answers.push((pattern.to_owned(), code, stdout.to_owned(), stderr.to_owned()));
    }

    /// Has a shell script answer, with docker's arguments as its own.
    pub fn script(&mut self, pattern: &str, script: &str) {
        self.scripts.push((pattern.to_owned(), script.to_owned()));
    }

    pub fn engine(&mut self, runtimes: &str, kernel: &str) {
        // An engine of its own, so that no other test holds its lock.
        let id = self.repo.root.display();
        let info = format!(
            r#"{{"ID":"{id}","ServerVersion":"26.1.5","Runtimes":{runtimes},"KernelVersion":"{kernel}"}}"#
        );
        self.answer("info --format*", 0, &info, "");
    }

    /// Vendors on the PCI bus of the engine's machine.
    pub fn card(&mut self, vendors: &str) {
        self.answer("exec c1 sh -c*", 0, vendors, "");
        self.answer("run --rm*--entrypoint sh *", 0, vendors, "");
    }

    pub fn image(&mut self, tags: &[&str]) {
        let tags: Vec<_> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
        let json = format!(
            r#"[{{"Id":"sha256:a","RepoTags":[{}],"Created":"2026-01-01T00:00:00Z","Config":{{}},"RootFS":{{"Layers":["l"]}}}}]"#,
            tags.join(",")
        );
        self.answer("image inspect p-backend:latest", 0, &json, "");
    }

    /// Makes the repository one of git's, with a submodule that is not checked
    /// out, of a repository in `upstream`.
    pub fn without_sources(&mut self) {
        let git = [("protocol.file.allow", "always"), ("user.name", "x"), ("user.email", "x@y.zz")];
        for (n, (key, value)) in git.into_iter().enumerate() {
            self.repo.set(&format!("GIT_CONFIG_KEY_{n}"), key);
            self.repo.set(&format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        self.repo.set("GIT_CONFIG_COUNT", "3");
        self.repo.write("upstream/step1x3d_geometry/__init__.py", "");
        let upstream = self.repo.root.join("upstream").display().to_string();
        for line in [
            "git -C upstream init -q && git -C upstream add . && git -C upstream commit -qm x",
            &format!("git init -q && git submodule --quiet add '{upstream}' backend/Step1X-3D"),
            "git submodule --quiet deinit --force --all && rm -rf .git/modules",
        ] {
            Run::of(self.repo.command("sh", &["-c", line])).ok();
        }
    }

    pub fn no_image(&mut self) {
        self.answer(
            "image inspect*",
            1,
            "[]\n",
            "Error response from daemon: No such image: p-backend:latest\n",
        );
        self.answer("ps --all*", 0, "", "");
    }

    pub fn xtask(&self, args: &[&str]) -> Run {
        let log = self.repo.root.join("log");
        let root = self.repo.root.display();
        let mut script = format!(
            "#!/bin/sh\nenv > '{root}/environment'\necho \"$*\" >> '{root}/log'\ncase \"$*\" in\n"
        );
        for (pattern, answer) in self.scripts.iter().rev() {
            script += &format!("{})\n{answer}\n;;\n", pattern.replace(' ', "\\ "));
        }
        for (n, (pattern, code, stdout, stderr)) in self.answers.iter().enumerate().rev() {
            self.repo.write(&format!("bin/{n}.out"), stdout);
            self.repo.write(&format!("bin/{n}.err"), stderr);
            let files = self.repo.root.join("bin").join(n.to_string());
            let files = files.display();
            let pattern = pattern.replace(' ', "\\ ");
            script +=
                &format!("{pattern}) cat '{files}.out'; cat '{files}.err' >&2; exit {code};;\n");
        }
        script += "*) echo \"the fake docker has no answer for: $*\" >&2; exit 99;;\nesac\n";
        self.repo.write("bin/docker", &script);
        executable(&self.repo.root.join("bin/docker"));
        let _ = fs_err::remove_file(&log);
        self.repo.xtask(args)
    }

    /// The docker commands of the last run.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.repo.root.join("log")).unwrap_or_default()
    }
}

#[track_caller]
pub fn snapshot(run: &Run, want: &str) {
    assert_eq!(run.text(), want, "\n--- got\n{}", run.text());
}
