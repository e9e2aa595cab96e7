//! What a check found, and what mends it.

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

impl Status {
    /// The sign at the beginning of a line.
    pub fn mark(self) -> char {
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
    /// Whether the remedy's sentence is the next step, and its commands only
    /// inspect something or come afterwards.
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

/// Why a fact is unknown, and what to do about it: an error that can be cloned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    pub kind: Kind,
    pub says: String,
    pub remedy: Remedy,
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Trouble {
        let (kind, says) = (error::kind(&error), error::line(&error));
        Trouble { kind, says, remedy: error::remedy(&error) }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        anyhow::Error::from(failure).into()
    }
}

impl From<&str> for Trouble {
    fn from(says: &str) -> Trouble {
        Trouble { says: says.to_owned(), ..Trouble::default() }
    }
}

/// A check that could not be carried out.
impl From<Trouble> for Finding {
    fn from(Trouble { kind, says, remedy }: Trouble) -> Finding {
        Finding {
            remedy: Some(remedy).filter(|remedy| !remedy.is_empty()),
            by_hand: kind == Kind::Driver,
            ..Finding::new(Status::Error, says)
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

    /// A trouble that is a fault in itself, unless it is a missing answer.
    pub fn fault(mut trouble: Trouble) -> Finding {
        if trouble.kind == Kind::NoAnswer {
            return trouble.into();
        }
        if trouble.remedy.is_empty() {
            trouble.remedy = Remedy::new("", &["docker info   # what docker itself says"]);
        }
        Finding { status: Status::Fail, ..Finding::from(trouble) }
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

    /// A remedy that begins with its first command.
    pub fn remedy(self, text: &str, commands: &[&str]) -> Finding {
        Finding { remedy: Some(Remedy::new(text, commands)), by_hand: false, ..self }
    }

    /// A remedy that the user carries out; the commands inspect or come afterwards.
    pub fn by_hand(self, text: &str, commands: &[&str]) -> Finding {
        Finding { by_hand: true, ..self.remedy(text, commands) }
    }

    pub fn fix(self, fix: Fix) -> Finding {
        Finding { fix: Some(fix), ..self }
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
        let finding = Finding::fault(trouble.clone());
        assert_eq!((finding.status, &*finding.message), (Status::Fail, "outer: inner"));
        let want = Remedy { text: "do it".into(), commands: vec!["sudo do it".into()] };
        assert_eq!(finding.remedy, Some(want.clone()));
        let unknown = Finding::from(trouble);
        assert_eq!((unknown.status, &*unknown.message), (Status::Error, "outer: inner"));
        assert_eq!(unknown.remedy, Some(want));
    }

    #[test]
    fn a_fault_always_has_a_remedy_and_a_missing_answer_need_not() {
        let plain = Finding::fault("plain".into()).remedy.unwrap();
        assert_eq!(plain.commands, ["docker info   # what docker itself says"]);
        assert_eq!(Finding::from(Trouble::from("plain")).remedy, None);
    }

    #[test]
    fn no_answer_is_no_fault() {
        let slow =
            anyhow::Error::from(Failure::new("too slow").kind(Kind::NoAnswer)).context("asking");
        let unreadable = serde_json::from_str::<u8>("?").context("reading").unwrap_err();
        for error in [slow, unreadable] {
            assert_eq!(Finding::fault(Trouble::from(error)).status, Status::Error);
        }
    }

    #[test]
    fn the_next_step_is_a_command_or_what_only_the_user_can_do() {
        let step = |finding: Finding| finding.next_step().map(str::to_owned);
        let fail = || Finding::fail("x");
        for (finding, want) in [
            (fail(), None),
            (fail().remedy("Do it:\nwith care", &["do", "see"]), Some("do")),
            (fail().remedy("Do it:\nwith care", &[]), Some("Do it")),
            (fail().by_hand("Do it.", &["see"]), Some("Do it.")),
            (fail().by_hand("", &["see"]), Some("see")),
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
