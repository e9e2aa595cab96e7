//! A command line as data: to run it, or to show what would be run.

use std::fmt;

/// A command line and what it reads from standard input.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    pub(super) program: String,
    pub(super) args: Vec<String>,
    pub(super) stdin: Option<Vec<u8>>,
    /// What standard input is, for the reader of a dry run.
    pub stdin_is: &'static str,
    /// Whether its environment has to be the user's, unchanged.
    pub(super) exact_environment: bool,
}

impl Invocation {
    /// `program` with `args` and an empty standard input.
    pub fn new<S: Into<String>>(program: &str, args: impl IntoIterator<Item = S>) -> Invocation {
        Invocation {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            stdin: None,
            stdin_is: "",
            exact_environment: false,
        }
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Invocation {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Reads `text` from standard input; `is` says what that is.
    pub fn stdin(self, text: impl Into<Vec<u8>>, is: &'static str) -> Invocation {
        Invocation { stdin: Some(text.into()), stdin_is: is, ..self }
    }

    /// Runs in the user's environment without additions.
    pub fn in_exact_environment(self) -> Invocation {
        Invocation { exact_environment: true, ..self }
    }

    /// The argument after `option`.
    pub fn value_of(&self, option: &str) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == option)?;
        self.args.get(at + 1).map(String::as_str)
    }
}

impl fmt::Display for Invocation {
    /// As one would type it in a POSIX shell, without standard input. A very long
    /// argument is cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 160;
        f.write_str(&self.program)?;
        for arg in &self.args {
            let cut = arg.char_indices().nth(LONGEST).map(|(at, _)| format!("{}…", &arg[..at]));
            let arg = cut.as_ref().unwrap_or(arg);
            let plain = |c: char| c.is_alphanumeric() || "-_./:=@,+%".contains(c);
            if !arg.is_empty() && arg.chars().all(plain) {
                write!(f, " {arg}")?
            } else {
                write!(f, " '{}'", arg.replace('\'', r"'\''"))?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_typed() {
        for (args, want) in [
            (["tag", "a b", "it's"], r"docker tag 'a b' 'it'\''s'"),
            (["tag", "", "é-_./:=@,+%1"], "docker tag '' é-_./:=@,+%1"),
            (["tag", "$x", "`y`"], "docker tag '$x' '`y`'"),
        ] {
            assert_eq!(Invocation::new("docker", args).to_string(), want);
        }
    }

    #[test]
    fn a_long_argument_is_cut() {
        let shown = Invocation::new("docker", ["é".repeat(160), "é".repeat(161)]).to_string();
        assert_eq!(shown, format!("docker {0} '{0}…'", "é".repeat(160)));
    }

    #[test]
    fn the_value_of_an_option_is_the_argument_after_it() {
        let run = Invocation::new("docker", ["run", "--name", "x", "--last"]);
        assert_eq!(run.value_of("--name"), Some("x"));
        assert_eq!((run.value_of("--last"), run.value_of("--none")), (None, None));
    }
}
