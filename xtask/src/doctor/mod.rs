//! Doctor: names what is broken, and the command that mends it.
//!
//! [`facts`] asks for what can be known, each thing once and when somebody wants
//! it; [`checks`] is the list of checks, each a pure judgement of those facts.
//! All start at once, and each is printed as soon as those before it are. A
//! check whose ground is missing is skipped, so that one cause shows as one fault.

mod checks;
mod facts;
mod finding;
mod fix;
#[cfg(test)]
mod gpu_faults;
mod http;
mod print;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

pub use self::finding::{Finding, Fix, Status};
use self::{
    checks::{Check, GROUPS},
    facts::Facts,
};
use crate::cli;
use crate::error::{self, Failure};
use crate::process;

/// What became of one check.
struct Outcome {
    check: &'static Check,
    finding: Finding,
    took: Duration,
    /// Whether the user asked for it, rather than what stands on it.
    asked: bool,
}

impl Outcome {
    /// What holds is not shown where nobody asked for it.
    fn shown(&self) -> bool {
        self.asked || [Status::Fail, Status::Error].contains(&self.finding.status)
    }
}

/// Runs the checks that `args` name for the clone at `root`, prints what they
/// found for people or as one JSON document, and returns the exit code: 1 if
/// anything failed, a fix too. Changes nothing unless asked to.
///
/// # Errors
/// With exit code 2 for a check that does not exist, and with 130 after Ctrl-C.
pub fn run(root: &Path, args: &cli::Doctor) -> Result<i32> {
    if args.list {
        print::list();
        return Ok(0);
    }
    let selection = select(&args.checks)?;
    let (mut applied, mut all_fixed) = (Vec::new(), true);
    loop {
        let mut facts = Facts::about(root, args.require_gpu);
        facts.fixed.clone_from(&applied);
        let outcomes = examine(&selection, &facts, |outcome| {
            if !args.json {
                print::outcome(outcome, args.verbose);
            }
        });
        process::interrupted()?;
        // What is broken comes before what deserves a look.
        let mut fixable: Vec<_> = outcomes.iter().filter(|o| args.fix && o.shown()).collect();
        fixable.sort_by_key(|outcome| outcome.finding.status != Status::Fail);
        let mut fixes = fixable.iter().filter_map(|outcome| outcome.finding.fix);
        if let Some(fix) = fixes.find(|fix| !applied.contains(fix)) {
            // One that fails is no reason to leave the others out.
            if let Err(error) = fix.apply(root) {
                process::interrupted()?;
                warn!("{}", error::render(&error).trim_end());
                all_fixed = false;
            }
            applied.push(fix);
            continue;
        }
        let ok = all_fixed && outcomes.iter().all(|outcome| outcome.finding.status != Status::Fail);
        if args.json {
            say!("{:#}", print::document(&outcomes, ok));
        } else {
            say!("{}", print::end(&outcomes));
        }
        return Ok(i32::from(!ok));
    }
}

/// The checks of these names, ids or groups, all for none, and what they need;
/// each with whether it was asked for, in the order of the list.
fn select(names: &[String]) -> Result<Vec<(&'static Check, bool)>> {
    let all = || GROUPS.iter().flat_map(|group| group.checks);
    let mut asked = BTreeSet::new();
    for name in names {
        let group = GROUPS.iter().filter(|group| group.name == name).flat_map(|g| g.checks);
        let found: Vec<_> = group.chain(all().filter(|check| check.id == name)).collect();
        if found.is_empty() {
            let groups: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
            bail!(
                Failure::new(format!("there is no check `{name}`"))
                    .advice(format!("groups of checks: {}", groups.join(", ")))
                    .hint("cargo xtask doctor --list")
                    .code(2)
            );
        }
        asked.extend(found.iter().map(|check| check.id));
    }
    let mut wanted = asked.clone();
    // What a check needs stands earlier in the list.
    for check in all().collect::<Vec<_>>().into_iter().rev() {
        if wanted.contains(check.id) {
            wanted.extend(check.needs);
        }
    }
    let everything = names.is_empty();
    Ok(all()
        .filter(|check| everything || wanted.contains(check.id))
        .map(|check| (check, everything || asked.contains(check.id)))
        .collect())
}

/// Why what stands on a check is skipped.
#[derive(Clone)]
enum Ground {
    /// The check of this id broke.
    Broken(&'static str),
    /// It does not apply here.
    Absent(String),
}

/// Judges everything at once, and tells each outcome in the order of the list.
/// What stands on a check that did not hold is skipped, whatever it found.
fn examine(
    selection: &[(&'static Check, bool)],
    facts: &Facts,
    mut tell: impl FnMut(&Outcome),
) -> Vec<Outcome> {
    thread::scope(|scope| {
        let threads: Vec<_> = selection
            .iter()
            .map(|(check, asked)| {
                let judge = move || {
                    let started = Instant::now();
                    ((check.evaluate)(facts), started.elapsed())
                };
                (*check, *asked, scope.spawn(judge))
            })
            .collect();
        let mut groundless: BTreeMap<&str, Ground> = BTreeMap::new();
        let (mut outcomes, mut unheard) = (Vec::new(), Vec::new());
        for (check, asked, thread) in threads {
            let missing = check.needs.iter().find_map(|id| groundless.get(id)).cloned();
            let (finding, took) = match &missing {
                None => thread.join().unwrap_or_else(|_| {
                    (Finding::new(Status::Error, "xtask panicked"), Duration::ZERO)
                }),
                Some(ground) => {
                    unheard.push(thread);
                    let why = match ground {
                        Ground::Broken(id) => format!("skipped: {id}"),
                        Ground::Absent(why) => why.clone(),
                    };
                    (Finding::skipped(why), Duration::ZERO)
                }
            };
            let ground = missing.or(match finding.status {
                Status::Fail | Status::Error => Some(Ground::Broken(check.id)),
                _ => finding.absent.then(|| Ground::Absent(finding.message.clone())),
            });
            groundless.extend(ground.map(|ground| (check.id, ground)));
            let outcome = Outcome { check, finding, took, asked };
            tell(&outcome);
            outcomes.push(outcome);
        }
        // Nobody is interested in how a groundless judgement ended.
        unheard.into_iter().for_each(|thread| drop(thread.join()));
        outcomes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        id: &'static str,
        needs: &'static [&'static str],
        evaluate: fn(&Facts) -> Finding,
    ) -> (&'static Check, bool) {
        (Box::leak(Box::new(Check { id, title: id, needs, link: "", evaluate })), true)
    }

    #[test]
    fn one_cause_shows_as_one_fault() {
        let stand_in = [
            check("a", &[], |_| Finding::ok("1")),
            check("b", &["a"], |_| Finding::fail("broken").remedy("Mend it.", &["mend b"])),
            check("c", &["b"], |_| Finding::fail("because of b")),
            check("d", &["c"], |_| panic!("what is skipped may even panic")),
            check("e", &["a"], |_| Finding::new(Status::Warn, "old")),
            check("f", &["a"], |_| Finding::absent("no card")),
            check("g", &["f"], |_| Finding::ok("never reached")),
            check("i", &["a"], |_| Finding::skipped("not here")),
            check("j", &["i"], |_| Finding::ok("2")),
            check("h", &["a"], |_| panic!("this is told")),
        ];
        let mut told = String::new();
        let outcomes = examine(&stand_in, &Facts::none(), |outcome| {
            told += &print::text(outcome, false);
        });
        assert_eq!(
            told,
            "✓ a              1\n\
             ✗ b              broken\n                 -> Mend it.\n                 -> mend b\n\
             – c              skipped: b\n– d              skipped: b\n! e              old\n\
             – f              no card\n– g              no card\n\
             – i              not here\n✓ j              2\n? h              xtask panicked\n"
        );
        assert_eq!(print::end(&outcomes), "next: mend b");
        let document = print::document(&outcomes, false);
        assert_eq!(document["checks"][1]["remedy"]["commands"][0], "mend b");
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
    fn the_list_is_in_order_and_every_name_stands_for_one_thing() {
        let mut seen: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        for check in GROUPS.iter().flat_map(|group| group.checks) {
            assert!(!seen.contains(&check.id), "{} stands there twice", check.id);
            assert!(check.needs.iter().all(|id| seen.contains(id)), "{} comes too early", check.id);
            assert!(check.title.chars().count() <= print::TITLE, "{} is too long", check.title);
            assert!(check.link.starts_with("https://"), "{} has no link", check.id);
            seen.push(check.id);
        }
    }
}
