//! Findings for people, 80 columns wide and without colour, and for programs.

use serde_json::{Value, json};

use super::checks::GROUPS;
use super::{Finding, Outcome, Status};
use crate::ui;

/// Columns of a check's title.
pub const TITLE: usize = 14;

/// Columns of a line.
const WIDTH: usize = 80;

/// Prints one outcome as soon as it is known.
pub fn outcome(outcome: &Outcome, verbose: bool) {
    if outcome.shown() {
        say!("{}", text(outcome, verbose).trim_end());
    }
}

/// One outcome; `verbose` adds how long it took and its evidence.
pub fn text(outcome: &Outcome, verbose: bool) -> String {
    let Outcome { check, finding, took, .. } = outcome;
    let mut message = finding.message.clone();
    if verbose {
        message += &format!(" ({})", ui::spoken(*took));
    }
    let mut text = String::new();
    let mut first = format!("{} {:<TITLE$} ", finding.status.mark(), check.title);
    let indent = " ".repeat(TITLE + 3);
    for line in wrapped(&message, WIDTH - indent.len()) {
        text += &format!("{first}{line}\n");
        first.clone_from(&indent);
    }
    if let Some(remedy) = &finding.remedy {
        for (n, line) in wrapped(&remedy.text, WIDTH - indent.len() - 3).iter().enumerate() {
            let arrow = if n == 0 { "->" } else { "  " };
            text += &format!("{indent}{arrow} {line}\n");
        }
        // Whole, so that it can be copied.
        for command in &remedy.commands {
            text += &format!("{indent}-> {command}\n");
        }
    }
    if verbose {
        let found = finding.found.as_ref().filter(|found| **found != finding.message);
        let found = found.map(|found| format!("found {found}"));
        let expected = finding.expected.as_ref().map(|expected| format!("expected {expected}"));
        for line in found.iter().chain(&expected).chain(&finding.evidence) {
            text += &format!("{indent}| {line}\n");
        }
        if outcome.is_broken() || finding.status == Status::Warn {
            text += &format!("{indent}| {}\n", check.link);
        }
    }
    text
}

/// The last lines: what does not work here, and what to do next.
pub fn end(outcomes: &[Outcome]) -> String {
    let mut lines: Vec<String> =
        outcomes.iter().filter_map(|o| o.finding.note).map(str::to_owned).collect();
    let with = |status| {
        let mut findings = outcomes.iter().filter(|o| o.shown()).map(|o| &o.finding);
        findings.find(move |finding| finding.status == status)
    };
    let next = [Status::Fail, Status::Error, Status::Warn]
        .into_iter()
        .filter_map(with)
        .find_map(Finding::next_step);
    lines.push(match next {
        Some(step) => format!("next: {step}"),
        None if with(Status::Error).is_some() => {
            "nothing known to be broken, but not all could be checked".to_owned()
        }
        None => "nothing to mend".to_owned(),
    });
    lines.join("\n")
}

/// The document of `doctor --json`, version 2; the README describes it.
pub fn document(outcomes: &[Outcome], ok: bool) -> Value {
    let checks = outcomes.iter().filter(|outcome| outcome.shown()).map(|outcome| {
        let Outcome { check, finding, .. } = outcome;
        json!({
            "id": check.id,
            "group": GROUPS.iter().find(|g| g.checks.iter().any(|c| c.id == check.id)).map(|g| g.name),
            "title": check.title,
            "status": finding.status,
            "found": finding.found,
            "expected": finding.expected,
            "message": finding.message,
            "evidence": finding.evidence,
            "remedy": finding.remedy.as_ref().map(|r| json!({ "text": r.text, "commands": r.commands })),
            "fixable": finding.fix.is_some(),
            "link": check.link,
        })
    });
    json!({ "version": 2, "ok": ok, "checks": checks.collect::<Vec<_>>() })
}

/// Prints what can be asked for by name.
pub fn list() {
    for group in GROUPS {
        say!("{}", group.name);
        for check in group.checks {
            say!("  {:<14} {}", check.id, check.title);
        }
    }
}

/// Breaks a text at its spaces, and between the lines it has.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        for word in line.split_inclusive(' ') {
            let length = |text: &str| text.trim_end().chars().count();
            if !current.trim().is_empty() && length(&current) + 1 + length(word) > width {
                lines.push(current.trim_end().to_owned());
                current.clear();
            }
            current += word;
        }
        lines.push(current.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_broken_at_spaces_and_yaml_keeps_its_indent() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("deploy:\n  resources:", 40), ["deploy:", "  resources:"]);
        assert_eq!(wrapped("toolongtobreak x", 4), ["toolongtobreak", "x"]);
        assert!(wrapped("", 4).is_empty());
    }
}
