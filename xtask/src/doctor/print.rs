//! Findings for people, 80 columns wide and without colour, and for programs.

use serde_json::{Value, json};

use super::checks::CHECKS;
use super::{Finding, Outcome, Status};
use crate::ui;

/// Columns of a check's title.
pub const TITLE: usize = 14;

/// Columns before a message: the mark, the title, and a space after each.
const INDENT: usize = TITLE + 3;

/// Columns of a message in a line of 80.
const WIDTH: usize = 80 - INDENT;

/// Prints one outcome as soon as it is known.
pub fn outcome(outcome: &Outcome, verbose: bool) {
    if outcome.shown() {
        say!("{}", text(outcome, verbose).trim_end());
    }
}

/// One outcome; `verbose` adds how long it took and its evidence.
pub fn text(outcome: &Outcome, verbose: bool) -> String {
    let Outcome { check, finding, took, .. } = outcome;
    let Finding { status, message, found, expected, .. } = finding;
    let took = if verbose { format!(" ({})", ui::spoken(*took)) } else { String::new() };
    let mut lines = wrapped(&format!("{message}{took}"), WIDTH);
    if let Some(remedy) = &finding.remedy {
        for (n, line) in wrapped(&remedy.text, WIDTH - 3).iter().enumerate() {
            lines.push(format!("{} {line}", if n == 0 { "->" } else { "  " }));
        }
        // Whole, so that it can be copied.
        lines.extend(remedy.commands.iter().map(|command| format!("-> {command}")));
    }
    if verbose {
        let found = found.iter().filter(|found| *found != message);
        lines.extend(found.map(|found| format!("| found {found}")));
        lines.extend(expected.iter().map(|expected| format!("| expected {expected}")));
        lines.extend(finding.evidence.iter().map(|line| format!("| {line}")));
        if outcome.is_broken() || *status == Status::Warn {
            lines.push(format!("| {}", check.link));
        }
    }
    let mark = match status {
        Status::Ok => '✓',
        Status::Warn => '!',
        Status::Fail => '✗',
        Status::Skipped => '–',
        Status::Error => '?',
    };
    let lines = lines.join(&format!("\n{:INDENT$}", ""));
    format!("{mark} {:<TITLE$} {lines}\n", check.title)
}

/// The last lines: what does not work here, and what to do next.
pub fn end(outcomes: &[Outcome]) -> String {
    let shown = |status| {
        let shown = outcomes.iter().filter(|outcome| outcome.shown());
        shown.map(|outcome| &outcome.finding).filter(move |finding| finding.status == status)
    };
    let mut worst_first = [Status::Fail, Status::Error, Status::Warn].into_iter().flat_map(shown);
    let last = match worst_first.find_map(Finding::next_step) {
        Some(step) => format!("next: {step}"),
        None if shown(Status::Error).next().is_some() => {
            "nothing known to be broken, but not all could be checked".to_owned()
        }
        None => "nothing to fix".to_owned(),
    };
    let notes = outcomes.iter().filter_map(|outcome| outcome.finding.note).map(str::to_owned);
    notes.chain([last]).collect::<Vec<_>>().join("\n")
}

/// The document of `doctor --json`, version 2; the README describes it.
pub fn document(outcomes: &[Outcome], ok: bool) -> Value {
    let checks = outcomes.iter().filter(|outcome| outcome.shown()).map(|outcome| {
        let Outcome { check, finding, .. } = outcome;
        let remedy = finding.remedy.as_ref();
        json!({
            "id": check.id,
            "group": check.group,
            "title": check.title,
            "status": finding.status,
            "found": finding.found,
            "expected": finding.expected,
            "message": finding.message,
            "evidence": finding.evidence,
            "remedy": remedy.map(|r| json!({ "text": r.text, "commands": r.commands })),
            "fixable": finding.fix.is_some(),
            "link": check.link,
        })
    });
    json!({ "version": 2, "ok": ok, "checks": checks.collect::<Vec<_>>() })
}

/// Prints what can be asked for by name.
pub fn list() {
    for group in CHECKS.chunk_by(|one, next| one.group == next.group) {
        say!("{}", group[0].group);
        for check in group {
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
