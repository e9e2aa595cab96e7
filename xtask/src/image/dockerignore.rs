//! .dockerignore, as BuildKit reads it.
//!
//! The rules are those of moby/patternmatcher (`patternmatcher.go`, `ignorefile/ignorefile.go`),
//! unlike .gitignore's: patterns are anchored at the context's root, the last match wins,
//! and a `!` line brings a file back even out of an excluded directory.

pub struct IgnoreFile(Vec<Pattern>);

struct Pattern {
    glob: Vec<char>,
    brings_back: bool,
}

impl IgnoreFile {
    pub fn parse(text: &str) -> IgnoreFile {
        let lines = text.trim_start_matches('\u{feff}').lines();
        let patterns = lines.filter(|line| !line.starts_with('#')).map(str::trim).map(|line| {
            let bare = line.strip_prefix('!');
            Pattern { glob: clean(bare.unwrap_or(line).trim()), brings_back: bare.is_some() }
        });
        IgnoreFile(patterns.filter(|pattern| !pattern.glob.is_empty()).collect())
    }

    /// Whether `path`, relative to the context and with `/`, stays out of the build context.
    pub fn excludes(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let mut matched = vec![false; self.0.len()];
        let mut excluded = false;
        // What matches a directory matches all below it.
        for end in (0..=path.len()).filter(|end| path.get(*end).is_none_or(|c| *c == '/')) {
            excluded = false;
            for (Pattern { glob, brings_back }, matched) in self.0.iter().zip(&mut matched) {
                // A pattern that can't change the outcome for a directory is not tried on it.
                *matched = *matched || *brings_back == excluded && fits(glob, &path[..end]);
                excluded = if *matched { !brings_back } else { excluded };
            }
        }
        excluded
    }

    /// Whether nothing below an excluded directory can come back, so that it need not be walked.
    pub fn prunes(&self) -> bool {
        !self.0.iter().any(|pattern| pattern.brings_back)
    }
}

/// Go's `filepath.Clean`, less a leading slash.
fn clean(pattern: &str) -> Vec<char> {
    let mut parts = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/").chars().collect()
}

/// Whether a pattern fits a whole path. Plain text after a first `**` may begin anywhere.
fn fits(glob: &[char], path: &[char]) -> bool {
    let is_plain = |text: &[char]| !text.iter().any(|c| ['*', '?', '[', ']', '\\'].contains(c));
    let suffix = glob.strip_prefix(&['*', '*']).filter(|suffix| is_plain(suffix));
    suffix.is_some_and(|suffix| path.ends_with(suffix)) || matches(glob, path)
}

/// `*` and `?` stay within one part of the path, `**` crosses parts, `[a-z]` and `[^a-z]` are
/// classes, `\` takes the next character as it is.
fn matches(glob: &[char], path: &[char]) -> bool {
    match glob {
        [] => path.is_empty(),
        ['*', '*'] | ['*', '*', '/'] => true,
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            let starts = (0..=path.len()).filter(|start| *start == 0 || path[start - 1] == '/');
            starts.into_iter().any(|start| matches(rest, &path[start..]))
        }
        ['*', rest @ ..] => {
            let end = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=end).any(|i| matches(rest, &path[i..]))
        }
        _ => path
            .split_first()
            .is_some_and(|(c, tail)| after_one(glob, *c).is_some_and(|rest| matches(rest, tail))),
    }
}

/// The rest of a pattern whose beginning stands for the one character `c`.
fn after_one(glob: &[char], c: char) -> Option<&[char]> {
    let (fits, rest) = match glob {
        ['?', rest @ ..] => (c != '/', rest),
        ['[', first, rest @ ..] => {
            let mut parts = rest.splitn(2, |c| *c == ']');
            let (class, rest) = (parts.next()?, parts.next()?);
            (in_class(&[&[*first], class].concat(), c), rest)
        }
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == c, rest),
        [] => return None,
    };
    fits.then_some(rest)
}

fn in_class(class: &[char], c: char) -> bool {
    match class {
        ['^', class @ ..] => !in_class(class, c),
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&c) || in_class(rest, c),
        [one, rest @ ..] => *one == c || in_class(rest, c),
        [] => false,
    }
}

#[cfg(test)]
#[path = "../../tests/unit/ignore_rules.rs"]
mod ignore_rules;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_buildkit_reads_them() {
        // BuildKit refuses the patterns of the second list; they must not stop xtask.
        let refused = [("[]", "a", false), ("[a", "b", false), ("[a-]", "-", true)];
        let refused = refused.iter().chain(&[("!", "a", false), ("**.lo\\g", "b.log", false)]);
        for (text, path, excluded) in ignore_rules::RULES.iter().chain(refused) {
            assert_eq!(IgnoreFile::parse(text).excludes(path), *excluded, "{text:?} on {path}");
        }
        assert!(IgnoreFile::parse("a").prunes() && !IgnoreFile::parse("a\n!a/b").prunes());
    }
}
