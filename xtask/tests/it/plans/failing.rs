//! What a plan says of failures is what is done after one.

use super::{Built, Ids, Operation, answer_plan, changes, holds, operations, shown};
use crate::fake::*;

const PREVIOUS: &str = "localhost/xtask/p-backend:previous";

/// What is undone after a failure.
#[derive(PartialEq)]
enum Undone {
    /// Everything that was begun.
    All,
    /// The build alone, as the new container is there.
    Build,
    /// The same, and then the previous image serves again.
    BuildThenRollback,
}

struct Failure<'a> {
    command: &'a str,
    /// The operation that fails, by the beginning of its name.
    operation: &'a str,
    /// What makes it fail.
    fault: fn(&mut Fake),
    undone: Undone,
    /// The last line of the cause, or what xtask says instead.
    says: &'a str,
}

fn crash(fake: &mut Fake) {
    let exited = CONTAINER.replace("running", "exited").replace("\"ExitCode\":0", "\"ExitCode\":3");
    fake.after(&compose(UP), CONTAINER_INSPECT, 0, &exited, "");
    fake.answer("logs --tail 20 c1", 0, "Traceback\n", "");
}

const FAILURES: [Failure; 11] = [
    Failure {
        command: "fast",
        operation: "build the image",
        fault: |f| f.answer(&compose(BUILD), 17, "", "failed to solve\n"),
        undone: Undone::All,
        says: "building `backend` failed; what served before still does",
    },
    Failure {
        command: "full",
        operation: "build the image",
        fault: |f| f.answer(&compose(BUILD_FULL), 17, "", "failed to solve\n"),
        undone: Undone::All,
        says: "building `backend` failed; what served before still does",
    },
    Failure {
        command: "full",
        operation: "check that torch",
        fault: |f| {
            let check = throw_away("", &format!("python3 {BUILDING} -"));
            f.answer(&check, 0, &PROBE.replace("2.5.1", "2.6.0"), "");
        },
        undone: Undone::All,
        says: "the new image does not pass the check; the old one stays",
    },
    Failure {
        command: "fast",
        operation: "try the port",
        fault: |f| {
            let taken = "Bind for 127.0.0.1:9 failed: port is already allocated\n";
            f.answer(&try_port("127.0.0.1:9", BUILDING), 125, "", taken);
        },
        undone: Undone::All,
        says: "the port that the service publishes is taken by another program",
    },
    Failure {
        command: "fast",
        operation: "tag the image",
        fault: |f| f.answer(&format!("tag {BUILDING} {INPUTS}"), 1, "", "no\n"),
        undone: Undone::All,
        says: "naming the new image failed; what served before still does",
    },
    Failure {
        command: "fast",
        operation: "give the image",
        fault: |f| f.answer(&format!("tag {BUILDING} p-backend:latest"), 1, "", "no\n"),
        undone: Undone::All,
        says: "naming the new image failed; what served before still does",
    },
    Failure {
        command: "fast",
        operation: "start a container",
        fault: |f| f.answer(&compose(UP), 1, "", "no\n"),
        undone: Undone::All,
        says: "nothing was swapped; what served before still does",
    },
    Failure {
        command: "full",
        operation: "start a container",
        fault: |f| f.answer(&compose(UP), 1, "", "no\n"),
        undone: Undone::All,
        says: "nothing was swapped; what served before still does",
    },
    Failure {
        command: "fast",
        operation: "start a container",
        fault: |f| {
            f.answer(&compose(UP), 1, "", "no\n");
            f.after(&compose(UP), CONTAINERS_OF_PROJECT, 0, "", "");
        },
        undone: Undone::Build,
        says: "the new container could not be started; the image that served before is still there",
    },
    Failure {
        command: "fast",
        operation: "wait until",
        fault: crash,
        undone: Undone::Build,
        says: "the new container does not serve; the image that served before is still there",
    },
    Failure {
        command: "full",
        operation: "wait until",
        fault: crash,
        undone: Undone::BuildThenRollback,
        says: "the new container does not serve; rolled back to the previous image",
    },
];

#[test]
fn a_failure_is_undone_as_the_plan_says() {
    for failure in &FAILURES {
        let mut fake = Fake::serving();
        fake.service(r#","ports":[{"host_ip":"127.0.0.1","published":"9"}]"#);
        fake.own_names(&[("previous", "sha256:p"), ("failed", "sha256:f")]);
        let plan = operations(&fake.xtask(&[failure.command, "--dry-run"]).ok());
        answer_plan(&mut fake, &plan, Built::Another);
        let again = format!("tag {PREVIOUS} p-backend:latest");
        fake.answer(&format!("image inspect {PREVIOUS}"), 0, &image("sha256:a", "l", &[]), "");
        (failure.fault)(&mut fake);
        if plan.iter().any(|operation| !operation.then.is_empty()) {
            fake.after(&again, CONTAINER_INSPECT, 0, CONTAINER, "");
        }
        let run = fake.xtask(&[failure.command]);
        assert_eq!(changes(&fake), expected(failure, &plan), "{}", run.text());
        assert!(
            run.code != Some(0) && run.stderr.contains(&format!("error: {}", failure.says)),
            "{}: {}\n{}",
            failure.command,
            failure.operation,
            run.text()
        );
    }
}

/// The commands of a plan as far as it gets, and of what undoes it.
fn expected(failure: &Failure, plan: &[Operation]) -> Vec<String> {
    let ids = Ids { served: "sha256:a", image: "sha256:a", result: "sha256:b" };
    let held: Vec<_> =
        plan.iter().filter(|operation| holds(operation, &ids, Built::Another)).collect();
    let at = held.iter().position(|operation| operation.does.starts_with(failure.operation));
    let begun = &held[..=at.unwrap_or_else(|| panic!("no {}", failure.operation))];
    let done = begun.iter().flat_map(|operation| &operation.commands);
    let failed = begun.last().unwrap();
    let undone = begun.iter().rev().filter(|operation| {
        failure.undone == Undone::All || operation.does.starts_with("build the image")
    });
    let undone = undone.flat_map(|operation| &operation.undo);
    let mut lines: Vec<_> =
        done.chain(&failed.if_it_fails).chain(undone).map(|line| shown(line)).collect();
    if failure.undone == Undone::BuildThenRollback {
        let then = plan.iter().flat_map(|operation| &operation.then);
        lines.extend(then.map(|line| shown(line)));
    }
    lines
}
