//! A fake `docker`, for machines and failures that no test machine has.
//!
//! It answers exact command lines. One that it does not know fails the test.

mod lines;

use std::collections::BTreeMap;

use xtask::{
    docker::Project,
    image::{inputs::Inputs, provenance},
};

pub use self::lines::*;
use crate::common::{Repo, Run};

/// A repository, and a `docker` that answers as told.
pub struct Fake {
    pub repo: Repo,
    answers: Vec<Answer>,
}

impl Drop for Fake {
    /// The lock stays by design; each fake has an engine, and so a lock, of its own.
    fn drop(&mut self) {
        let lock = xtask::deploy::lock::path(&self.engine_id(), "p");
        let _ = fs_err::remove_file(lock);
    }
}

/// What docker does on one command line.
struct Answer {
    /// The whole line after `docker`. See [`stable`] for what is replaced in it.
    line: String,
    /// Answers only once this other line was called.
    after: Option<String>,
    /// What the shell runs, with docker's arguments as its own.
    script: String,
}

/// What doctor asks the probe for.
const PARTS: [&str; 2] = ["packages driver", "torch"];

impl Fake {
    /// An engine on a machine without a card; the service runs from the
    /// current sources.
    pub fn serving() -> Fake {
        let mut fake = Fake { repo: Repo::new(), answers: Vec::new() };
        let bin = fake.repo.root.join("bin");
        fs_err::create_dir_all(&bin).unwrap();
        let docker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/docker.sh");
        std::os::unix::fs::symlink(docker, bin.join("docker")).unwrap();
        fake.repo.set("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
        fake.engine(r#"{"runc":{}}"#, "6.1.0");
        fake.card("0x8086\n0x1af4\n");
        fake.service("");
        fake.container(CONTAINER);
        fake.drift("Running");
        fake.answer(OWN_NAMES, 0, "", "");
        fake.answer(SOME_IMAGES, 0, "", "");
        fake.answer(&format!("image inspect {INPUTS}.record"), 1, "[]\n", NO_IMAGE);
        fake.answer(&format!("image rm {BUILDING}"), 0, "", "");
        fake.python(0, PROBE, "");
        fake.answer("logs --tail 5 c1", 0, "", "");
        for (line, stdout) in [
            ("compose version", "Docker Compose version 2.26.1\n"),
            ("buildx version", "github.com/docker/buildx v0.13.1 788433953af1\n"),
            (
                "buildx inspect",
                "Name:          default\nDriver:        docker\n\nNodes:\nName:  default\n",
            ),
            (
                "context inspect --format {{.Endpoints.docker.Host}}",
                "unix:///var/run/docker.sock\n",
            ),
        ] {
            fake.answer(line, 0, stdout, "");
        }
        fake.image(&["p-backend:latest", &fake.inputs_name()]);
        fake
    }

    /// The name that the current sources give an image.
    pub fn inputs_name(&self) -> String {
        let build = Project::parse(&self.config("", "")).unwrap().build.unwrap();
        provenance::name("p", &Inputs::read(&self.repo.root, &build).unwrap())
    }

    /// The command that records what an image was built from.
    pub fn record(&self) -> String {
        let build = Project::parse(&self.config("", "")).unwrap().build.unwrap();
        let record = provenance::record(&Inputs::read(&self.repo.root, &build).unwrap());
        let label = record.replace('"', "\\\"").replace('$', "\\$");
        stable(&format!("import --change LABEL xtask.record=\"{label}\" - {INPUTS}.record"))
    }

    /// What Compose says of the project; `service` and `build` are further keys.
    fn config(&self, service: &str, build: &str) -> String {
        let context = self.repo.root.join("backend").display().to_string();
        format!(
            r#"{{"name":"p","services":{{"backend":{{"build":{{"context":"{context}","dockerfile":"Dockerfile"{build}}},"healthcheck":{{"test":["CMD","true"]}}{service}}}}}}}"#
        )
    }

    /// The service with further keys, as in `,"gpus":[]`.
    pub fn service(&mut self, keys: &str) {
        self.answer(CONFIG, 0, &self.config(keys, ""), "");
    }

    /// The service with further keys in its section `build`.
    pub fn build_section(&mut self, keys: &str) {
        self.answer(CONFIG, 0, &self.config("", keys), "");
    }

    /// The answer to a command line.
    pub fn answer(&mut self, line: &str, code: i32, stdout: &str, stderr: &str) {
        self.script(line, &printing(code, stdout, stderr));
    }

    /// The answer once another command line was called; with the same line, from the
    /// second call on.
    pub fn after(&mut self, called: &str, line: &str, code: i32, stdout: &str, stderr: &str) {
        let script = printing(code, stdout, stderr);
        self.answers.push(Answer { line: line.to_owned(), after: Some(called.to_owned()), script });
    }

    /// Has a shell script answer, with docker's arguments as its own.
    pub fn script(&mut self, line: &str, script: &str) {
        self.answers.push(Answer { line: line.to_owned(), after: None, script: script.to_owned() });
    }

    pub fn engine(&mut self, runtimes: &str, kernel: &str) {
        self.engine_with(&format!(r#""Runtimes":{runtimes},"KernelVersion":"{kernel}""#));
    }

    /// An engine of its own, so that no other test holds its lock.
    fn engine_id(&self) -> String {
        self.repo.root.display().to_string()
    }

    /// An engine with these keys in what it says of itself.
    pub fn engine_with(&mut self, keys: &str) {
        let id = self.engine_id();
        let info = format!(
            r#"{{"ID":"{id}","ServerVersion":"26.1.5","ClientInfo":{{"Context":"default"}},{keys}}}"#
        );
        self.answer(INFO, 0, &info, "");
    }

    /// Vendors on the PCI bus of the engine's machine.
    pub fn card(&mut self, vendors: &str) {
        self.answer(&format!("{LOOK_IN_CONTAINER} {LOOK}"), 0, vendors, "");
        self.answer(&look_in_image("sha256:a"), 0, vendors, "");
    }

    /// The service's one container, as `docker container inspect` shows it.
    pub fn container(&mut self, json: &str) {
        self.answer(CONTAINERS, 0, "c1\n", "");
        self.answer(CONTAINERS_OF_PROJECT, 0, "c1\n", "");
        self.answer(CONTAINER_INSPECT, 0, json, "");
    }

    /// [`CONTAINER`] with other values.
    pub fn container_with(&mut self, changes: &[(&str, &str)]) {
        let json = changes.iter().fold(CONTAINER.to_owned(), |json, (from, to)| {
            assert!(json.contains(from), "{from}");
            json.replace(from, to)
        });
        self.container(&json);
    }

    pub fn no_container(&mut self) {
        self.answer(CONTAINERS, 0, "", "");
        self.answer(CONTAINERS_OF_PROJECT, 0, "", "");
    }

    /// What Compose's own dry run says of the container, such as `Recreate`; with
    /// every compose file that xtask may add.
    pub fn drift(&mut self, word: &str) {
        let said = format!(" DRY-RUN MODE -  Container p-backend-1  {word}\n");
        self.answer(&format!("compose {DRIFT}"), 0, &said, "");
        self.answer(&compose(DRIFT), 0, &said, "");
    }

    /// The names of the service's image, whose id is `sha256:a`.
    pub fn image(&mut self, names: &[&str]) {
        self.answer(IMAGE_INSPECT, 0, &image("sha256:a", "l", names), "");
    }

    /// xtask's own names on the engine, after `localhost/xtask/p-backend:`, and ids.
    pub fn own_names(&mut self, names: &[(&str, &str)]) {
        let lines = names.iter().map(|(tag, id)| format!("localhost/xtask/p-backend:{tag} {id}\n"));
        self.answer(OWN_NAMES, 0, &lines.collect::<String>(), "");
    }

    /// Neither an image nor a container.
    pub fn no_image(&mut self) {
        self.answer(IMAGE_INSPECT, 1, "[]\n", NO_IMAGE);
        self.no_container();
    }

    /// What Python prints in the service's container, whatever doctor asks.
    pub fn python(&mut self, code: i32, stdout: &str, stderr: &str) {
        for parts in PARTS {
            self.python_script(parts, &printing(code, stdout, stderr));
        }
    }

    /// Has a shell script answer what doctor asks Python for.
    pub fn python_script(&mut self, parts: &str, script: &str) {
        for place in ["exec --interactive c1", "compose exec -T backend"] {
            self.script(&format!("{place} python3 - 50 {parts}"), script);
        }
    }

    /// What Python prints in a throw-away container with these options.
    pub fn python_in_image(&mut self, options: &str, code: i32, stdout: &str, stderr: &str) {
        for parts in PARTS {
            let run = throw_away(options, &format!("python3 sha256:a - 50 {parts}"));
            self.answer(&run, code, stdout, stderr);
        }
    }

    /// Another answer to everything known so far that begins with this word.
    pub fn every(&mut self, word: &str, code: i32, stdout: &str, stderr: &str) {
        let begins = |answer: &&Answer| answer.line.split(' ').next() == Some(word);
        let lines: Vec<_> =
            self.answers.iter().filter(begins).map(|answer| answer.line.clone()).collect();
        for line in lines {
            self.answer(&line, code, stdout, stderr);
        }
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

    /// Runs xtask to its end.
    ///
    /// # Panics
    /// When docker was called in a way that it has no answer for.
    #[track_caller]
    pub fn xtask(&self, args: &[&str]) -> Run {
        self.prepare();
        let run = self.repo.xtask(args);
        let unknown = fs_err::read_to_string(self.repo.root.join("bin/unknown"));
        assert!(
            unknown.is_err(),
            "the fake docker has no answer for:\n{}\n{args:?} said:\n{}",
            unknown.unwrap_or_default(),
            run.text()
        );
        run
    }

    /// Writes what docker answers, and forgets the calls so far.
    pub fn prepare(&self) {
        let bin = self.repo.root.join("bin");
        for forgotten in ["log", "unknown"] {
            let _ = fs_err::remove_file(bin.join(forgotten));
        }
        let _ = fs_err::remove_dir_all(bin.join("called"));
        fs_err::create_dir_all(bin.join("called")).unwrap();
        self.repo.write("bin/answers", &self.table());
    }

    /// The answers as a shell script: it notes the arguments, picks the last answer
    /// that holds, and gives it.
    fn table(&self) -> String {
        let mut lines = BTreeMap::<&str, Vec<usize>>::new();
        for (n, answer) in self.answers.iter().enumerate() {
            lines.entry(&answer.line).or_default().push(n);
        }
        let number = |line: &str| {
            let known = lines.keys().position(|known| *known == line);
            known.unwrap_or_else(|| panic!("`{line}` has no answer itself"))
        };
        let (mut pick, mut bodies) = (String::new(), String::new());
        for (line, answers) in &lines {
            pick += &format!("{}) line={}; answer=none", quoted(line), number(line));
            for n in answers {
                let Answer { after, script, .. } = &self.answers[*n];
                match after {
                    None => pick += &format!("; answer={n}"),
                    Some(after) => {
                        let called = number(after);
                        pick += &format!("; [ -e \"$here/called/{called}\" ] && answer={n}");
                    }
                }
                bodies += &format!("{n})\n{script}\n;;\n");
            }
            pick += ";;\n";
        }
        let unknown = r#"*) printf '%s\n' "$*" >> "$here/unknown"; exit 99;;"#;
        let note = "IFS='\u{1f}'; printf '%s\\n' \"$*\" >> \"$here/log\"; unset IFS";
        format!(
            "{note}\ncase $line in\n{pick}{unknown}\nesac\n\
             : > \"$here/called/$line\"\ncase $answer in\n{bodies}{unknown}\nesac\n"
        )
    }

    /// The docker commands of the last run, a line each.
    pub fn log(&self) -> String {
        self.calls().iter().map(|call| stable(&call.join(" ")) + "\n").collect()
    }

    /// The arguments of each docker command of the last run, as they were.
    pub fn calls(&self) -> Vec<Vec<String>> {
        let log = fs_err::read_to_string(self.repo.root.join("bin/log")).unwrap_or_default();
        log.lines().map(|line| line.split('\u{1f}').map(str::to_owned).collect()).collect()
    }
}

/// A text with what differs from run to run replaced, as the fake docker does:
/// digests and the ids of runs by `<digest>`, the counter of throw-away containers
/// by `<n>`.
pub fn stable(text: &str) -> String {
    let mut stable = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let hex =
            rest.len() - rest.trim_start_matches(|c| matches!(c, '0'..='9' | 'a'..='f')).len();
        let end = if hex == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { hex };
        stable += if hex >= 16 { "<digest>" } else { &rest[..end] };
        rest = &rest[end..];
        if stable.ends_with("xtask-<digest>")
            && let Some(counter) = rest.strip_prefix('-')
        {
            stable += "-<n>";
            rest = counter.trim_start_matches(|c: char| c.is_ascii_digit());
        }
    }
    stable
}

fn printing(code: i32, stdout: &str, stderr: &str) -> String {
    let (stdout, stderr) = (quoted(stdout), quoted(stderr));
    format!("printf %s {stdout}; printf %s {stderr} >&2; exit {code}")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Compares everything that a run printed, and its exit status, as one text. The
/// repository's path is `<root>` in it, and how long something took `<time>`.
#[track_caller]
pub fn snapshot(run: &Run, want: &str) {
    let mut got = run.text();
    while let Some(at) = got.find("/xtask-test-") {
        let start = got[..at].rfind([' ', '`', '\n', '\'']).map_or(0, |at| at + 1);
        let end = at + got[at..].find("my clôné").unwrap() + "my clôné".len();
        got.replace_range(start..end, "<root>");
    }
    while let Some(at) = got.find(" s after the start") {
        let start = got[..at].rfind(' ').unwrap() + 1;
        got.replace_range(start..at + 2, "<time>");
    }
    assert_eq!(got, want, "\n--- got\n{got}");
}
