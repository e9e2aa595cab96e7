//! Doctor: names what is broken, and the command that mends it.
//!
//! [`facts`] brings back what can be known, [`checks`] is the list of checks,
//! each a pure evaluation of those facts. A check whose ground is missing is
//! skipped, so that one cause shows as one fault.

mod checks;
mod facts;

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use self::{
    checks::{CHECKS, Check},
    facts::Facts,
};
use crate::failure;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    Ok,
    Warn,
    Fail,
    /// Not applicable, or what it needs is missing.
    Skipped,
    /// It could not be carried out, which says nothing about what it checks.
    Error,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
            Status::Skipped => "skipped",
            Status::Error => "error",
        }
    }

    fn mark(self) -> char {
        match self {
            Status::Ok => '✓',
            Status::Warn => '!',
            Status::Fail => '✗',
            Status::Skipped => '–',
            Status::Error => '?',
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub status: Status,
    pub found: Option<String>,
    pub expected: Option<String>,
    /// One line for people.
    pub message: String,
    pub remedy: Option<Remedy>,
}

/// What mends a fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remedy {
    pub text: String,
    /// Commands to run, in order.
    pub commands: Vec<String>,
}

impl Finding {
    fn new(status: Status, message: impl Into<String>) -> Finding {
        Finding { status, found: None, expected: None, message: message.into(), remedy: None }
    }

    /// All is well with what was found.
    fn ok(found: impl Into<String>) -> Finding {
        let found = found.into();
        Finding { found: Some(found.clone()), ..Finding::new(Status::Ok, found) }
    }

    fn found(self, found: impl Into<String>) -> Finding {
        Finding { found: Some(found.into()), ..self }
    }

    fn expected(self, expected: impl Into<String>) -> Finding {
        Finding { expected: Some(expected.into()), ..self }
    }

    fn remedy(self, text: &str, commands: &[&str]) -> Finding {
        let commands = commands.iter().map(|command| (*command).to_owned()).collect();
        Finding { remedy: Some(Remedy { text: text.to_owned(), commands }), ..self }
    }

    /// A fault that an error describes; its hints are the remedy.
    fn of_error(error: &anyhow::Error) -> Finding {
        let (advice, mut commands) = failure::remedies(error);
        if advice.is_empty() && commands.is_empty() {
            commands.push("docker info   # what docker itself says".to_owned());
        }
        Finding {
            remedy: Some(Remedy { text: advice.join("; "), commands }),
            ..Finding::new(Status::Fail, failure::line(error))
        }
    }
}

/// Runs all checks for the clone at `root`, prints what they found for people
/// or as one JSON document, and returns the exit code: 1 if anything failed.
pub fn run(root: &Path, json: bool) -> i32 {
    let facts = facts::gather(root);
    let findings = evaluate(CHECKS, &facts);
    let ok = findings.iter().all(|(_, finding)| finding.status != Status::Fail);
    if json {
        say!("{:#}", document(&findings, ok));
    } else {
        say!("{}", text(&findings).trim_end());
    }
    i32::from(!ok)
}

/// Evaluates checks in order. Pure. A check whose ground did not hold is
/// skipped, and so are those that stand on it.
fn evaluate<'c>(checks: &'c [Check], facts: &Facts) -> Vec<(&'c Check, Finding)> {
    let mut groundless = BTreeSet::new();
    let mut findings = Vec::new();
    for check in checks {
        let missing = check.needs.iter().find(|id| groundless.contains(**id));
        let finding = match missing {
            Some(id) => Finding::new(Status::Skipped, format!("skipped: {id}")),
            None => (check.evaluate)(facts),
        };
        if missing.is_some() || [Status::Fail, Status::Error].contains(&finding.status) {
            groundless.insert(check.id);
        }
        findings.push((check, finding));
    }
    findings
}

fn text(findings: &[(&Check, Finding)]) -> String {
    let mut text = String::new();
    for (check, finding) in findings {
        text += &format!("{} {:<14} {}\n", finding.status.mark(), check.title, finding.message);
        if let Some(remedy) = &finding.remedy {
            for line in
                [&remedy.text].into_iter().filter(|text| !text.is_empty()).chain(&remedy.commands)
            {
                text += &format!("  {:<14} -> {line}\n", "");
            }
        }
    }
    let first = |status| findings.iter().find(|(_, finding)| finding.status == status);
    let next = first(Status::Fail)
        .or_else(|| first(Status::Warn))
        .and_then(|(_, finding)| finding.remedy.as_ref());
    text += &match next {
        Some(remedy) => format!("next: {}\n", remedy.commands.first().unwrap_or(&remedy.text)),
        None if first(Status::Error).is_some() => {
            "nothing known to be broken, but not all could be checked\n".to_owned()
        }
        None => "nothing to mend\n".to_owned(),
    };
    text
}

/// The document of `doctor --json`, version 1; the README describes it.
fn document(findings: &[(&Check, Finding)], ok: bool) -> Value {
    let checks = findings.iter().map(|(check, finding)| {
        json!({
            "id": check.id,
            "status": finding.status.word(),
            "found": finding.found,
            "expected": finding.expected,
            "message": finding.message,
            "remedy": finding.remedy.as_ref().map(|r| json!({ "text": r.text, "commands": r.commands })),
        })
    });
    json!({ "version": 1, "ok": ok, "checks": checks.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAND_IN: &[Check] = &[
        Check { id: "a", title: "A", needs: &[], evaluate: |_| Finding::ok("1") },
        Check {
            id: "b",
            title: "B",
            needs: &["a"],
            evaluate: |_| Finding::new(Status::Fail, "broken").remedy("Mend it.", &["mend b"]),
        },
        Check { id: "c", title: "C", needs: &["b"], evaluate: |_| Finding::ok("never reached") },
        Check { id: "d", title: "D", needs: &["c"], evaluate: |_| Finding::ok("never reached") },
        Check {
            id: "e",
            title: "E",
            needs: &["a"],
            evaluate: |_| Finding::new(Status::Warn, "old"),
        },
    ];

    #[test]
    fn one_cause_shows_as_one_fault() {
        let findings = evaluate(STAND_IN, &Facts::none());
        assert_eq!(
            text(&findings),
            "✓ A              1\n\
             ✗ B              broken\n                 -> Mend it.\n                 -> mend b\n\
             – C              skipped: b\n– D              skipped: c\n! E              old\nnext: mend b\n"
        );
        let document = document(&findings, false);
        assert_eq!(document["checks"][1]["remedy"]["commands"][0], "mend b");
        assert_eq!(document["checks"][2]["status"], "skipped");
    }

    #[test]
    fn an_errors_hints_become_the_remedy() {
        let error =
            anyhow::Error::from(failure::Failure::new("inner").advice("do it").hint("sudo do it"))
                .context("outer");
        let finding = Finding::of_error(&error);
        assert_eq!(finding.message, "outer: inner");
        assert_eq!(
            finding.remedy.unwrap(),
            Remedy { text: "do it".into(), commands: vec!["sudo do it".into()] }
        );
    }
}
