//! What a check found, and what fixes it.

use std::path::Path;

use serde::Serialize;

use crate::error::{self, Failure, Kind, Remedy};

/// How a check ended; `doctor --json` has the same words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Ok,
    Warn,
    Fail,
    /// Not applicable, or a check that it needs did not pass.
    Skipped,
    /// The check could not be carried out; what it checks may be fine.
    Error,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    pub status: Status,
    pub found: Option<String>,
    pub expected: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// What it is based on, one item a line; never a value of .env.
    pub evidence: Vec<String>,
    pub remedy: Option<Remedy>,
    /// Whether the remedy's sentence is the next step, as of [`by_hand`].
    pub by_hand: bool,
    /// What `--fix` does about it.
    pub fix: Option<Fix>,
    /// Whether dependent checks are skipped too, for the same reason.
    pub skips_dependents: bool,
    /// A consequence for the user, shown at the end.
    pub note: Option<&'static str>,
}

/// An action of `--fix`. It is safe, and changes nothing outside the project.
#[derive(Clone, Copy, Debug)]
pub struct Fix {
    /// What it does, such as `recreating the container`; tells fixes apart.
    pub name: &'static str,
    pub apply: fn(&Path) -> anyhow::Result<()>,
}

impl PartialEq for Fix {
    fn eq(&self, other: &Fix) -> bool {
        self.name == other.name
    }
}

/// A [`Remedy`] in the tables of remedies.
#[derive(Clone, Copy)]
pub struct Advice<'a> {
    text: &'a str,
    commands: &'a [&'a str],
    by_hand: bool,
}

/// A remedy that begins with its first command.
pub const fn by_command<'a>(text: &'a str, commands: &'a [&'a str]) -> Advice<'a> {
    Advice { text, commands, by_hand: false }
}

/// A remedy that the user carries out; the commands inspect or come afterwards.
pub const fn by_hand<'a>(text: &'a str, commands: &'a [&'a str]) -> Advice<'a> {
    Advice { text, commands, by_hand: true }
}

/// Declares the remedies of one theme.
macro_rules! remedies {
    ($($visibility:vis $name:ident = $advice:expr;)*) => {
        $($visibility const $name: $crate::doctor::finding::Advice<'static> = $advice;)*
    };
}

/// Why a fact is unknown, and what to do about it: an error that can be cloned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    pub kind: Kind,
    pub message: String,
    pub remedy: Remedy,
    /// Whether it is a fault in itself; else the check could not be carried out.
    pub is_fault: bool,
}

impl Trouble {
    /// A fault in itself, unless it is a missing answer.
    pub fn fault(mut self) -> Trouble {
        self.is_fault = self.kind != Kind::NoAnswer;
        if self.is_fault && self.remedy.is_empty() {
            self.remedy = Remedy::new("", &["docker info   # what docker itself says"]);
        }
        self
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Trouble {
        let (kind, message) = (error::kind(&error), format!("{error:#}"));
        Trouble { kind, message, remedy: error::remedy(&error), is_fault: false }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        anyhow::Error::from(failure).into()
    }
}

impl From<&str> for Trouble {
    fn from(message: &str) -> Trouble {
        Trouble { message: message.to_owned(), ..Trouble::default() }
    }
}

impl From<Trouble> for Finding {
    fn from(Trouble { kind, message, remedy, is_fault }: Trouble) -> Finding {
        Finding {
            remedy: Some(remedy).filter(|remedy| !remedy.is_empty()),
            by_hand: kind == Kind::Driver,
            ..Finding::new(if is_fault { Status::Fail } else { Status::Error }, message)
        }
    }
}

impl Finding {
    fn new(status: Status, message: impl Into<String>) -> Finding {
        Finding { status, message: message.into(), ..Finding::default() }
    }

    pub fn fail(message: impl Into<String>) -> Finding {
        Finding::new(Status::Fail, message)
    }

    pub fn warn(message: impl Into<String>) -> Finding {
        Finding::new(Status::Warn, message)
    }

    pub fn skipped(reason: impl Into<String>) -> Finding {
        Finding::new(Status::Skipped, reason)
    }

    /// Skipped with all dependent checks.
    pub fn absent(reason: impl Into<String>) -> Finding {
        Finding { skips_dependents: true, ..Finding::skipped(reason) }
    }

    /// A message that is what was found.
    pub fn measured(status: Status, found: impl Into<String>) -> Finding {
        let found = found.into();
        Finding { found: Some(found.clone()), ..Finding::new(status, found) }
    }

    pub fn ok(found: impl Into<String>) -> Finding {
        Finding::measured(Status::Ok, found)
    }

    pub fn found(self, found: impl Into<String>) -> Finding {
        Finding { found: Some(found.into()), ..self }
    }

    pub fn expected(self, expected: impl Into<String>) -> Finding {
        Finding { expected: Some(expected.into()), ..self }
    }

    pub fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Finding {
        self.evidence.extend(lines.into_iter().filter(|line| !line.trim().is_empty()));
        self
    }

    pub fn remedy(self, Advice { text, commands, by_hand }: Advice) -> Finding {
        Finding { remedy: Some(Remedy::new(text, commands)), by_hand, ..self }
    }

    /// What to do first.
    pub fn next_step(&self) -> Option<&str> {
        let Remedy { text, commands } = self.remedy.as_ref()?;
        let sentence = text.lines().next().map(|line| line.trim_end_matches(':'));
        let command = commands.first().map(String::as_str);
        if self.by_hand { sentence.or(command) } else { command.or(sentence) }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_errors_hints_become_the_remedy() {
        let error = Err::<(), _>(Failure::new("inner").advice("do it").hint("sudo do it"))
            .context("outer")
            .unwrap_err();
        let trouble = Trouble::from(error);
        let finding = Finding::from(trouble.clone().fault());
        assert_eq!((finding.status, &*finding.message), (Status::Fail, "outer: inner"));
        let want = Remedy { text: "do it".into(), commands: vec!["sudo do it".into()] };
        assert_eq!(finding.remedy, Some(want.clone()));
        let unknown = Finding::from(trouble);
        assert_eq!((unknown.status, &*unknown.message), (Status::Error, "outer: inner"));
        assert_eq!(unknown.remedy, Some(want));
    }

    #[test]
    fn a_fault_always_has_a_remedy_and_a_missing_answer_need_not() {
        let plain = Finding::from(Trouble::from("plain").fault()).remedy.unwrap();
        assert_eq!(plain.commands, ["docker info   # what docker itself says"]);
        assert_eq!(Finding::from(Trouble::from("plain")).remedy, None);
    }

    #[test]
    fn no_answer_is_no_fault() {
        let slow =
            anyhow::Error::from(Failure::new("too slow").kind(Kind::NoAnswer)).context("asking");
        let unreadable = serde_json::from_str::<u8>("?").context("reading").unwrap_err();
        for error in [slow, unreadable] {
            assert_eq!(Finding::from(Trouble::from(error).fault()).status, Status::Error);
        }
    }

    #[test]
    fn the_next_step_is_a_command_or_what_only_the_user_can_do() {
        let step = |finding: Finding| finding.next_step().map(str::to_owned);
        let fail = || Finding::fail("x");
        for (finding, want) in [
            (fail(), None),
            (fail().remedy(by_command("Do it:\nwith care", &["do", "see"])), Some("do")),
            (fail().remedy(by_command("Do it:\nwith care", &[])), Some("Do it")),
            (fail().remedy(by_hand("Do it.", &["see"])), Some("Do it.")),
            (fail().remedy(by_hand("", &["see"])), Some("see")),
        ] {
            assert_eq!(step(finding).as_deref(), want);
        }
    }

    #[test]
    fn evidence_has_no_blank_lines() {
        let finding = Finding::ok("x").evidence(["a", " ", "b"].map(str::to_owned));
        assert_eq!(finding.evidence, ["a", "b"]);
    }
}
