//! What a check found, and what mends it.

use crate::error;

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
    /// The word in `doctor --json`.
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
            Status::Skipped => "skipped",
            Status::Error => "error",
        }
    }

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
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub status: Status,
    pub found: Option<String>,
    pub expected: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// What it rests on, a line each; never a value of .env.
    pub evidence: Vec<String>,
    pub remedy: Option<Remedy>,
    /// What `--fix` does about it.
    pub fix: Option<Fix>,
    /// Whether what stands on a skipped check is skipped too, for the same reason.
    pub absent: bool,
    /// What follows from it for the user, said at the end.
    pub note: Option<&'static str>,
}

/// What mends a fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remedy {
    pub text: String,
    /// Commands to run, in order.
    pub commands: Vec<String>,
}

/// What is safe to do inside the repository.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fix {
    /// .env from .env.example.
    EnvFile,
    /// The checkout of Step1X-3D.
    Sources,
    /// A new container in place of one that lost its GPU.
    Recreate,
}

/// Why a fact is not known, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    pub says: String,
    pub remedy: Remedy,
    /// There was no answer, or none that can be read: nothing is known to be wrong.
    pub unanswered: bool,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.says)
    }
}

impl std::error::Error for Trouble {}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Trouble {
        // What stands on a fact passes its trouble on.
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return trouble.clone();
        }
        let (advice, commands) = error::remedies(&error);
        Trouble {
            says: error::line(&error),
            remedy: Remedy { text: advice.join("; "), commands },
            unanswered: error::is_unanswered(&error),
        }
    }
}

impl Finding {
    /// With a sentence, and nothing else yet.
    pub fn new(status: Status, message: impl Into<String>) -> Finding {
        Finding {
            status,
            found: None,
            expected: None,
            message: message.into(),
            evidence: Vec::new(),
            remedy: None,
            fix: None,
            absent: false,
            note: None,
        }
    }

    /// All is well with what was found.
    pub fn ok(found: impl Into<String>) -> Finding {
        let found = found.into();
        Finding { found: Some(found.clone()), ..Finding::new(Status::Ok, found) }
    }

    pub fn fail(message: impl Into<String>) -> Finding {
        Finding::new(Status::Fail, message)
    }

    pub fn warn(message: impl Into<String>) -> Finding {
        Finding::new(Status::Warn, message)
    }

    pub fn skipped(why: impl Into<String>) -> Finding {
        Finding::new(Status::Skipped, why)
    }

    /// Skipped with all that stands on it.
    pub fn absent(why: impl Into<String>) -> Finding {
        Finding { absent: true, ..Finding::skipped(why) }
    }

    /// A fault that an error describes, unless that is the lack of an answer; its
    /// hints are the remedy.
    pub fn of(trouble: &Trouble) -> Finding {
        if trouble.unanswered {
            return Finding::unknown(trouble);
        }
        let mut remedy = trouble.remedy.clone();
        if remedy == Remedy::default() {
            remedy.commands.push("docker info   # what docker itself says".to_owned());
        }
        Finding { remedy: Some(remedy), ..Finding::fail(&trouble.says) }
    }

    /// A check that could not be carried out.
    pub fn unknown(why: &Trouble) -> Finding {
        let remedy = Some(why.remedy.clone()).filter(|remedy| *remedy != Remedy::default());
        Finding { remedy, ..Finding::new(Status::Error, format!("could not look: {why}")) }
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

    pub fn remedy(self, text: &str, commands: &[&str]) -> Finding {
        let commands = commands.iter().map(|command| (*command).to_owned()).collect();
        Finding { remedy: Some(Remedy { text: text.to_owned(), commands }), ..self }
    }

    pub fn fix(self, fix: Fix) -> Finding {
        Finding { fix: Some(fix), ..self }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::error::Failure;

    #[test]
    fn an_errors_hints_become_the_remedy_however_far_it_travels() {
        let error = Err::<(), _>(Failure::new("inner").advice("do it").hint("sudo do it"))
            .context("outer")
            .unwrap_err();
        let trouble = Trouble::from(error);
        let again = Trouble::from(anyhow::Error::from(trouble.clone()));
        assert_eq!(trouble, again);
        let finding = Finding::of(&again);
        assert_eq!(finding.message, "outer: inner");
        let want = Remedy { text: "do it".into(), commands: vec!["sudo do it".into()] };
        assert_eq!(finding.remedy, Some(want.clone()));
        assert_eq!(Finding::unknown(&again).remedy, Some(want));
    }

    #[test]
    fn no_answer_is_no_fault() {
        let slow = anyhow::Error::from(Failure::unanswered("too slow")).context("asking");
        let unreadable = serde_json::from_str::<u8>("?").context("reading").unwrap_err();
        for error in [slow, unreadable] {
            assert_eq!(Finding::of(&Trouble::from(error)).status, Status::Error);
        }
    }
}
