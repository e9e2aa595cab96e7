//! Doctor: names what is broken, and the command that mends it.
//!
//! [`facts`] asks; [`checks`] is the list of checks, each a pure judgement of those
//! facts. All start at once, and each is printed as soon as those before it are. A
//! check is skipped where one that it needs failed, so that one cause shows as one
//! fault.

mod checks;
mod facts;
mod finding;
mod http;
mod print;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::checks::{Check, GROUPS};
use self::facts::Facts;
use self::finding::{Finding, Fix, Status, Trouble};
use crate::error::{self, Failure};
use crate::process;

pub use self::print::list;

/// What a check found, or why it could not be carried out.
type Judgement = Result<Finding, Trouble>;

/// What the user asked for.
pub struct Options<'a> {
    /// Ids of checks and names of groups; none: all.
    pub checks: &'a [String],
    pub verbose: bool,
    pub fix: bool,
    pub require_gpu: bool,
    pub json: bool,
}

/// The result of one check.
struct Outcome {
    check: &'static Check,
    finding: Finding,
    took: Duration,
    /// Whether the user requested it, rather than a check that needs it.
    requested: bool,
}

impl Outcome {
    fn is_broken(&self) -> bool {
        matches!(self.finding.status, Status::Fail | Status::Error)
    }

    /// A check that was not requested is shown only if it is broken.
    fn shown(&self) -> bool {
        self.requested || self.is_broken()
    }
}

/// Runs the checks that `args` name for the clone at `root`, prints what they found
/// for people or as one JSON document, and returns the exit code: 1 if a check or a
/// fix failed. Changes nothing without `--fix`.
/// Fails with exit code 2 for a check that does not exist, and with 130 after Ctrl-C.
pub fn run(root: &Path, args: &Options) -> Result<i32> {
    let selection = select(args.checks)?;
    let (mut applied, mut all_fixed) = (Vec::new(), true);
    loop {
        let mut facts = Facts::about(root);
        facts.require_gpu = args.require_gpu;
        facts.fixed.clone_from(&applied);
        let outcomes = examine(&selection, &facts, |outcome| {
            if !args.json {
                print::outcome(outcome, args.verbose);
            }
        });
        process::interrupted()?;
        if args.fix
            && let Some(fix) = next_fix(&outcomes, &applied)
        {
            // Other fixes are tried even if this one fails.
            if let Err(error) = apply(fix, root) {
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

/// The first fix that is not applied yet; those of failed checks come first.
fn next_fix(outcomes: &[Outcome], applied: &[Fix]) -> Option<Fix> {
    let mut fixable: Vec<_> = outcomes.iter().filter(|outcome| outcome.shown()).collect();
    fixable.sort_by_key(|outcome| outcome.finding.status != Status::Fail);
    let mut fixes = fixable.iter().filter_map(|outcome| outcome.finding.fix);
    fixes.find(|fix| !applied.contains(fix))
}

fn apply(fix: Fix, root: &Path) -> Result<()> {
    say!("fix: {}", fix.name);
    (fix.apply)(root).with_context(|| format!("{} failed", fix.name))
}

/// The checks of these names (ids or groups; none: all) and those they need, in the
/// order of the list; each with whether it was requested.
fn select(names: &[String]) -> Result<Vec<(&'static Check, bool)>> {
    let all = || GROUPS.iter().flat_map(|group| group.checks);
    let mut requested = BTreeSet::new();
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
        requested.extend(found.iter().map(|check| check.id));
    }
    if names.is_empty() {
        requested.extend(all().map(|check| check.id));
    }
    let mut wanted = requested.clone();
    // What a check needs is earlier in the list.
    for check in all().collect::<Vec<_>>().into_iter().rev() {
        if wanted.contains(check.id) {
            wanted.extend(check.needs);
        }
    }
    let wanted = all().filter(|check| wanted.contains(check.id));
    Ok(wanted.map(|check| (check, requested.contains(check.id))).collect())
}

/// Runs all checks at once, and tells each outcome in the order of the list. A check
/// is skipped, whatever it found, if one that it needs failed or does not apply.
fn examine(
    selection: &[(&'static Check, bool)],
    facts: &Facts,
    mut tell: impl FnMut(&Outcome),
) -> Vec<Outcome> {
    thread::scope(|scope| {
        let threads: Vec<_> = selection
            .iter()
            .map(|(check, requested)| {
                let judge = move || {
                    let started = Instant::now();
                    let judgement = (check.judge)(facts);
                    (judgement.unwrap_or_else(Finding::from), started.elapsed())
                };
                (*check, *requested, scope.spawn(judge))
            })
            .collect();
        // Why dependent checks are skipped, by the check that blocks them.
        let mut blocked: BTreeMap<&str, String> = BTreeMap::new();
        let (mut outcomes, mut unneeded) = (Vec::new(), Vec::new());
        for (check, requested, thread) in threads {
            let reason = check.needs.iter().find_map(|id| blocked.get(id)).cloned();
            let (finding, took) = match &reason {
                Some(reason) => {
                    unneeded.push(thread);
                    (Finding::skipped(reason), Duration::ZERO)
                }
                None => thread.join().unwrap_or_else(|_| {
                    (Finding::from(Trouble::from("xtask panicked")), Duration::ZERO)
                }),
            };
            let outcome = Outcome { check, finding, took, requested };
            let reason = reason.or_else(|| match &outcome.finding {
                _ if outcome.is_broken() => Some(format!("skipped: {}", check.id)),
                finding if finding.skips_dependents => Some(finding.message.clone()),
                _ => None,
            });
            blocked.extend(reason.map(|reason| (check.id, reason)));
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
    use super::*;

    fn check(
        id: &'static str,
        needs: &'static [&'static str],
        judge: fn(&Facts) -> Judgement,
    ) -> (&'static Check, bool) {
        (Box::leak(Box::new(Check { id, title: id, needs, link: "", judge })), true)
    }

    #[test]
    fn one_cause_shows_as_one_fault() {
        let stand_in = [
            check("a", &[], |_| Ok(Finding::ok("1"))),
            check("b", &["a"], |_| Ok(Finding::fail("broken").remedy("Mend it.", &["mend b"]))),
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
             ✗ b              broken\n                 -> Mend it.\n                 -> mend b\n\
             – c              skipped: b\n– d              skipped: b\n! e              old\n\
             – f              no card\n– g              no card\n\
             – i              not here\n✓ j              2\n? h              xtask panicked\n\
             ? k              no answer\n– l              skipped: k\n"
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
    fn the_list_is_in_order_and_every_name_is_unique() {
        let mut seen: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        for check in GROUPS.iter().flat_map(|group| group.checks) {
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
