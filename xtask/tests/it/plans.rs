//! The dry run is the truth: it prints the very commands that docker is then called
//! with. Against a fake docker.

mod failing;
mod shown;

use crate::{common::Run, fake::*};

/// An operation as a dry run prints it.
#[derive(Debug)]
struct Operation {
    does: String,
    /// What follows the comma, such as `if the image is another than before`.
    when: String,
    /// Docker's arguments of each command.
    commands: Vec<Vec<String>>,
    undo: Vec<Vec<String>>,
    if_it_fails: Vec<Vec<String>>,
    /// What follows if the new container does not serve.
    then: Vec<Vec<String>>,
}

/// What the build yields, against the service's image.
#[derive(Clone, Copy, PartialEq)]
enum Built {
    Another,
    /// The same layers under another id.
    Identical,
    /// The same id.
    Same,
}

/// A situation of the service, by its name.
type Situation = (&'static str, fn(&mut Fake));

const GPU_SERVICE: &str = r#","gpus":[{"count":1}]"#;
const GPU_ENGINE: &str = r#"{"nvidia":{}}"#;

const SITUATIONS: [Situation; 21] = [
    ("current", |_| {}),
    ("no image", |f| f.no_image()),
    ("no image, with a card", |f| {
        f.no_image();
        f.engine(GPU_ENGINE, "6.1.0");
        f.service(GPU_SERVICE);
        f.answer(&look_in_image("sha256:b"), 0, "0x10de\n", "");
    }),
    ("code changed", |f| {
        name_inputs(f);
        f.repo.write("backend/app.sh", "# 2\n");
    }),
    ("requirements changed", |f| {
        name_inputs(f);
        f.repo.write("backend/requirements.txt", "torch==2.5.0\n");
    }),
    ("unknown origin", |f| f.image(&["p-backend:latest"])),
    ("exited", |f| f.container_with(&[("running", "exited")])),
    ("no container", |f| f.no_container()),
    ("paused", |f| f.container_with(&[("running", "paused")])),
    ("unhealthy", |f| f.container_with(&[("\"healthy\"", "\"unhealthy\"")])),
    ("crash-looping", |f| f.container_with(&[("running", "restarting")])),
    ("drift of the configuration", |f| f.drift("Recreate")),
    ("drift of the image", |f| {
        f.drift("Recreate");
        f.container_with(&[("sha256:a", "sha256:old")]);
        f.answer("image inspect sha256:old", 0, &image("sha256:old", "old", &[]), "");
    }),
    ("a previous image", |f| f.own_names(&[("previous", "sha256:p")])),
    ("a previous image, exited", |f| {
        f.own_names(&[("previous", "sha256:p")]);
        f.container_with(&[("running", "exited")]);
    }),
    ("leftovers of a killed run", |f| {
        f.own_names(&[("building-0011223344556677", "sha256:x"), ("failed", "sha256:y")]);
    }),
    ("ports to try", |f| {
        f.service(r#","ports":[{"host_ip":"127.0.0.1","published":"8000"}]"#);
        f.no_container();
    }),
    ("GPUs to try", |f| {
        f.engine(GPU_ENGINE, "6.1.0");
        f.card("0x10de\n");
        f.service(GPU_SERVICE);
        f.drift("Recreate");
    }),
    ("dependencies", |f| {
        f.drift("Recreate");
        f.service(r#","depends_on":{"db":{"condition":"service_healthy"},"queue":{"condition":"service_started"}}"#);
    }),
    ("further tags", |f| {
        f.build_section(r#","tags":["other:1"]"#);
        f.answer("image inspect other:1", 1, "[]\n", NO_IMAGE);
    }),
    ("an engine with the store of containerd", |f| {
        f.engine_with(r#""Runtimes":{"runc":{}},"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]"#);
    }),
];

/// Lists the name of the inputs among xtask's own.
fn name_inputs(fake: &mut Fake) {
    let name = fake.inputs_name();
    fake.own_names(&[(name.rsplit(':').next().unwrap(), "sha256:a")]);
}

fn operations(plan: &str) -> Vec<Operation> {
    let mut operations = Vec::<Operation>::new();
    let mut before = "";
    for line in plan.lines() {
        let command = |text: &str| words(text.split("   # stdin: ").next().unwrap());
        if line.starts_with("  because: ") {
            let conditions = [", if ", ", unless "];
            let at = conditions.iter().find_map(|condition| before.find(condition));
            let (does, when) = before.split_at(at.unwrap_or(before.len()));
            let (does, when) = (does.to_owned(), when.trim_start_matches(", ").to_owned());
            operations.push(Operation {
                does,
                when,
                commands: vec![],
                undo: vec![],
                if_it_fails: vec![],
                then: vec![],
            });
        } else if let Some(text) = line.strip_prefix("  would run: docker ") {
            operations.last_mut().unwrap().commands.push(command(text));
        } else if let Some(text) = line.strip_prefix("  undone by: docker ") {
            operations.last_mut().unwrap().undo.push(command(text));
        } else if let Some(text) = line.strip_prefix("  then: docker ") {
            operations.last_mut().unwrap().then.push(command(text));
        } else if let Some(text) = line.strip_prefix("  if it fails: docker ") {
            operations.last_mut().unwrap().if_it_fails.push(command(text));
        }
        before = line;
    }
    operations
}

/// Splits a command line as a POSIX shell does.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => quoted = !quoted,
            '\\' if !quoted => words.last_mut().unwrap().extend(chars.next()),
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

/// A call as a dry run shows it: a long argument is cut.
fn shown(call: &[String]) -> String {
    let cut = |arg: &String| match arg.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", &arg[..at]),
        None => arg.clone(),
    };
    stable(&call.iter().map(cut).collect::<Vec<_>>().join(" "))
}

/// The calls of the last run that change something, as a dry run shows them.
fn changes(fake: &Fake) -> Vec<String> {
    let reads = |line: &str| {
        const QUESTIONS: [&str; 10] = [
            "info ",
            "ps ",
            "container inspect ",
            "image inspect ",
            "image ls ",
            "context inspect ",
            "compose version",
            "buildx du ",
            "exec ",
            "logs ",
        ];
        let begins = QUESTIONS.iter().any(|question| line.starts_with(question));
        let compose = line.starts_with("compose ")
            && (line.contains(" config ") || line.contains(" --dry-run "));
        begins || compose || (line.starts_with("run ") && line.contains(" -c cat /sys/bus/pci"))
    };
    let lines = fake.calls().into_iter().map(|call| shown(&call));
    lines.filter(|line| !reads(line)).collect()
}

/// The image that serves, the service's own, and the one that runs in the end.
struct Ids<'a> {
    served: &'a str,
    image: &'a str,
    result: &'a str,
}

/// Whether an operation is carried out.
fn holds(operation: &Operation, ids: &Ids, built: Built) -> bool {
    match &*operation.when {
        "" | "unless the sources change during the build" => true,
        "if the build produces an identical image" => {
            built == Built::Identical && ids.served == ids.image
        }
        "if the image is another than before" => {
            let of_served = ["keep the image that served", "compare", "remove build cache"];
            let of_served = of_served.iter().any(|start| operation.does.starts_with(start));
            ids.result != if of_served { ids.served } else { ids.image }
        }
        "if the sources change during the build" => false,
        other => panic!("an unknown condition: {other}"),
    }
}

/// Has docker succeed with every command of a plan, and behave as after it.
fn answer_plan(fake: &mut Fake, operations: &[Operation], built: Built) {
    let (id, layer) = match built {
        Built::Another => ("sha256:b", "m"),
        Built::Identical => ("sha256:b", "l"),
        Built::Same => ("sha256:a", "l"),
    };
    fake.answer(&fake.record(), 0, "", "");
    fake.answer("image inspect sha256:a", 1, "[]\n", NO_IMAGE);
    for line in operations.iter().flat_map(|operation| {
        operation.undo.iter().chain(&operation.if_it_fails).chain(&operation.then)
    }) {
        fake.answer(&shown(line), 0, "", "");
    }
    for line in operations.iter().flat_map(|operation| &operation.commands) {
        let line = shown(line).replace("SUPERSEDED_LAYERS", "layer");
        if line.starts_with("import ") {
            continue;
        }
        let pin = fs_err::read_to_string(fake.repo.root.join("backend/requirements.txt")).unwrap();
        let probe = PROBE.replace("2.5.1", pin.trim().trim_start_matches("torch=="));
        let stdout = if line.contains("python3") { &*probe } else { PRUNED };
        for line in [line.clone(), line.replace("compose ", &compose(""))] {
            fake.answer(&line, 0, stdout, "");
            if line.contains(" build ") {
                let built = image(id, layer, &[]);
                fake.after(&line, &format!("image inspect {BUILDING}"), 0, &built, "");
            }
            if line.starts_with("image rm ") {
                fake.answer(BUILD_CACHE, 0, "ID: layer\nShared: true\n", "");
                fake.after(&line, BUILD_CACHE, 0, "ID: layer\nShared: false\n", "");
            }
            if line.ends_with(" backend") && (line.contains(" up ") || line.contains(" restart ")) {
                fake.after(&line, CONTAINERS_OF_PROJECT, 0, "c1\n", "");
                fake.after(&line, CONTAINER_INSPECT, 0, CONTAINER, "");
            }
        }
    }
}

const PRUNED: &str = "Total: 1GB\n";

/// Runs a command on a fake that additionally answers what its dry run prints.
fn dry_and_real(
    fake: &mut Fake,
    name: &str,
    args: &[&str],
    built: Built,
) -> Option<(Vec<Operation>, Run)> {
    let dry = fake.xtask(&[args, &["--dry-run"]].concat());
    assert_eq!(changes(fake), [""; 0], "{name}: a dry run of {args:?} changes something");
    let operations = operations(&dry.stdout);
    answer_plan(fake, &operations, built);
    let real = fake.xtask(args);
    if dry.code != Some(0) {
        assert_eq!(real.text(), dry.text(), "{name}: {args:?} refuses with the same words");
        assert_eq!(changes(fake), [""; 0], "{name}: a refusal of {args:?} changes something");
        return None;
    }
    Some((operations, real))
}

/// A command does what its dry run prints, and nothing else.
#[track_caller]
fn as_printed(situation: &Situation, args: &[&str], built: Built) {
    let (name, make) = situation;
    let mut fake = Fake::serving();
    fake.answer(&look_in_image("sha256:b"), 0, "0x8086\n", "");
    make(&mut fake);
    follows_plan(fake, name, args, built);
}

#[track_caller]
fn follows_plan(mut fake: Fake, name: &str, args: &[&str], built: Built) {
    let Some((operations, real)) = dry_and_real(&mut fake, name, args, built) else { return };
    assert_eq!(real.code, Some(0), "{name}: {args:?}\n{}", real.text());
    let builds = operations.iter().any(|operation| operation.does.starts_with("build "));
    let served = if name == "drift of the image" { "sha256:old" } else { "sha256:a" };
    let ids = Ids {
        served,
        image: "sha256:a",
        result: match built {
            Built::Another if builds => "sha256:b",
            // It is like the image that has the name, not like the one that serves.
            Built::Identical if builds && served == "sha256:old" => "sha256:b",
            _ => "sha256:a",
        },
    };
    let held = operations.iter().filter(|operation| holds(operation, &ids, built));
    let want = held.flat_map(|operation| &operation.commands).map(|command| {
        let line = shown(command);
        let line = line.replace("SUPERSEDED_LAYERS", "layer");
        // What is added once the machine is known, as the dry run says.
        match line.strip_prefix("compose ") {
            Some(rest) if name == "no image" && !rest.contains(" build ") => compose(rest),
            _ => line,
        }
    });
    let want: Vec<_> = want.collect();
    assert_eq!(changes(&fake), want, "{name}: {args:?}\n{}", real.text());
}

#[test]
fn up_does_what_its_dry_run_prints() {
    SITUATIONS.iter().for_each(|situation| as_printed(situation, &["up"], Built::Another));
}

#[test]
fn restart_does_what_its_dry_run_prints() {
    SITUATIONS.iter().for_each(|situation| as_printed(situation, &["restart"], Built::Another));
}

#[test]
fn fast_does_what_its_dry_run_prints() {
    SITUATIONS.iter().for_each(|situation| as_printed(situation, &["fast"], Built::Another));
    as_printed(&SITUATIONS[4], &["fast", "--force"], Built::Another);
}

#[test]
fn full_does_what_its_dry_run_prints() {
    SITUATIONS.iter().for_each(|situation| as_printed(situation, &["full"], Built::Another));
    as_printed(&SITUATIONS[0], &["full", "--pull"], Built::Another);
}

#[test]
fn rollback_does_what_its_dry_run_prints() {
    let has_image = |(name, _): &&Situation| !name.starts_with("no image");
    for (name, make) in SITUATIONS.iter().filter(has_image) {
        let mut fake = Fake::serving();
        make(&mut fake);
        fake.own_names(&[("previous", "sha256:p"), ("failed", "sha256:f")]);
        follows_plan(fake, name, &["rollback"], Built::Another);
    }
    as_printed(&SITUATIONS[0], &["rollback"], Built::Another);
}

#[test]
fn a_build_that_changes_nothing_does_what_its_dry_run_prints() {
    for built in [Built::Identical, Built::Same] {
        for situation in [&SITUATIONS[0], &SITUATIONS[3], &SITUATIONS[12], &SITUATIONS[13]] {
            as_printed(situation, &["fast"], built);
            as_printed(situation, &["full"], built);
        }
    }
}
