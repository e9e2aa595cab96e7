//! Doctor: names what is broken, and the command that fixes it.
//!
//! [`facts`] asks; [`checks`] is the list of checks, each a pure judgement of those
//! facts. All start at once, and each is printed as soon as those before it are. A
//! check is skipped where one that it needs failed, so that one cause shows as one
//! fault.

#[macro_use]
mod finding;
mod checks;
mod facts;
pub mod print;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use self::checks::{CHECKS, Check};
pub use self::facts::Facts;
pub use self::finding::{Finding, Fix, Status, Trouble};
use crate::error::Failure;

/// What a check found, or why it could not be carried out.
type Judgement = Result<Finding, Trouble>;

/// The result of one check.
pub struct Outcome {
    check: &'static Check,
    pub finding: Finding,
    took: Duration,
    /// Whether the user requested it, rather than a check that needs it.
    requested: bool,
}

impl Outcome {
    fn is_broken(&self) -> bool {
        matches!(self.finding.status, Status::Fail | Status::Error)
    }

    /// A check that was not requested is shown only if it is broken.
    pub fn shown(&self) -> bool {
        self.requested || self.is_broken()
    }
}

/// The checks of these names (ids or groups; none: all) and those they need, in the
/// order of the list; each with whether it was requested.
/// Fails with exit code 2 for a check that does not exist.
pub fn select(names: &[String]) -> Result<Vec<(&'static Check, bool)>> {
    let is_named = |check: &Check, name: &String| name == check.id || name == check.group;
    if let Some(name) = names.iter().find(|name| !CHECKS.iter().any(|c| is_named(c, name))) {
        let mut groups: Vec<_> = CHECKS.iter().map(|check| check.group).collect();
        groups.dedup();
        bail!(
            Failure::new(format!("there is no check `{name}`"))
                .advice(format!("groups of checks: {}", groups.join(", ")))
                .hint("cargo xtask doctor --list")
                .code(2)
        );
    }
    let requested =
        |check: &Check| names.is_empty() || names.iter().any(|name| is_named(check, name));
    let (mut selection, mut needed) = (Vec::new(), BTreeSet::<&str>::new());
    // What a check needs is earlier in the list.
    for check in CHECKS.iter().rev() {
        if requested(check) || needed.contains(check.id) {
            needed.extend(check.needs);
            selection.push((check, requested(check)));
        }
    }
    selection.reverse();
    Ok(selection)
}

/// Runs all checks at once, and tells each outcome in the order of the list. A check
/// is skipped, whatever it found, if one that it needs failed or does not apply.
pub fn examine(
    selection: &[(&'static Check, bool)],
    facts: &Facts,
    mut tell: impl FnMut(&Outcome),
) -> Vec<Outcome> {
    thread::scope(|scope| {
        let judge = |check: &Check| {
            let started = Instant::now();
            let finding = (check.judge)(facts).unwrap_or_else(Finding::from);
            (finding, started.elapsed())
        };
        let start = |(check, requested): &(&'static Check, bool)| {
            let check = *check;
            (check, *requested, scope.spawn(move || judge(check)))
        };
        let threads: Vec<_> = selection.iter().map(start).collect();
        // Why dependent checks are skipped, by the check that blocks them.
        let mut blocked: BTreeMap<&str, String> = BTreeMap::new();
        let (mut outcomes, mut unneeded) = (Vec::new(), Vec::new());
        for (check, requested, thread) in threads {
            let (finding, took) = match check.needs.iter().find_map(|id| blocked.get(id)) {
                Some(reason) => {
                    unneeded.push(thread);
                    (Finding::absent(reason), Duration::ZERO)
                }
                None => thread.join().unwrap_or_else(|_| {
                    (Finding::from(Trouble::from("xtask panicked")), Duration::ZERO)
                }),
            };
            let outcome = Outcome { check, finding, took, requested };
            if outcome.is_broken() {
                blocked.insert(check.id, format!("skipped: {}", check.id));
            } else if outcome.finding.skips_dependents {
                blocked.insert(check.id, outcome.finding.message.clone());
            }
            tell(&outcome);
            outcomes.push(outcome);
        }
        // A thread that panicked and is not joined would panic here.
        unneeded.into_iter().for_each(|thread| drop(thread.join()));
        outcomes
    })
}

#[cfg(test)]
mod tests {
    use super::finding::by_command;
    use super::*;

    fn check(
        id: &'static str,
        needs: &'static [&'static str],
        judge: fn(&Facts) -> Judgement,
    ) -> (&'static Check, bool) {
        (Box::leak(Box::new(Check { group: "", id, title: id, needs, link: "", judge })), true)
    }

    #[test]
    fn one_cause_shows_as_one_fault() {
        let stand_in = [
            check("a", &[], |_| Ok(Finding::ok("1"))),
            check("b", &["a"], |_| {
                Ok(Finding::fail("broken").remedy(by_command("Fix it.", &["fix b"])))
            }),
            check("c", &["b"], |_| Ok(Finding::fail("because of b"))),
            check("d", &["c"], |_| panic!("what is skipped may even panic")),
            check("e", &["a"], |_| Ok(Finding::warn("old"))),
            check("f", &["a"], |_| Ok(Finding::absent("no card"))),
            check("g", &["f"], |_| Ok(Finding::ok("never reached"))),
            check("i", &["a"], |_| Ok(Finding::skipped("not here"))),
            check("j", &["i"], |_| Ok(Finding::ok("2"))),
            check("h", &["a"], |_| panic!("this is told")),
            check("k", &["a"], |_| Err("no answer".into())),
            check("l", &["k"], |_| Ok(Finding::ok("never reached"))),
        ];
        let mut told = String::new();
        let outcomes = examine(&stand_in, &Facts::none(), |outcome| {
            told += &print::text(outcome, false);
        });
        assert_eq!(
            told,
            "✓ a              1\n\
             ✗ b              broken\n                 -> Fix it.\n                 -> fix b\n\
             – c              skipped: b\n– d              skipped: b\n! e              old\n\
             – f              no card\n– g              no card\n\
             – i              not here\n✓ j              2\n? h              xtask panicked\n\
             ? k              no answer\n– l              skipped: k\n"
        );
        assert_eq!(print::end(&outcomes), "next: fix b");
        let document = print::document(&outcomes, false);
        assert_eq!(document["checks"][1]["remedy"]["commands"][0], "fix b");
        assert_eq!(document["checks"][2]["status"], "skipped");
    }

    #[test]
    fn what_is_needed_comes_along_unasked() {
        let ids = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            select(&names).map(|checks| {
                checks.iter().map(|(check, asked)| (check.id, *asked)).collect::<Vec<_>>()
            })
        };
        assert_eq!(ids(&["buildx"]).unwrap(), [("docker-cli", false), ("buildx", true)]);
        assert!(ids(&["gpu"]).unwrap().contains(&("engine", false)));
        assert!(ids(&["gpu", "engine"]).unwrap().contains(&("engine", true)));
        assert!(ids(&[]).unwrap().iter().all(|(_, asked)| *asked));
        let error = ids(&["gpus"]).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 2);
        assert!(crate::error::render(&error).contains("tools, project, service, python, gpu"));
    }

    #[test]
    fn the_list_is_in_order_and_every_name_is_unique() {
        let mut seen: Vec<&str> = CHECKS.iter().map(|check| check.group).collect();
        seen.dedup();
        for check in CHECKS {
            assert!(!seen.contains(&check.id), "{} is there twice", check.id);
            assert!(check.needs.iter().all(|id| seen.contains(id)), "{} comes too early", check.id);
            assert!(check.title.chars().count() <= print::TITLE, "{} is too long", check.title);
            assert!(check.link.starts_with("https://"), "{} has no link", check.id);
            seen.push(check.id);
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/gpu_faults.rs"]
mod gpu_faults;
