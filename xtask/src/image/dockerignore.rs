//! .dockerignore, as BuildKit reads it.
//!
//! The rules are those of moby/patternmatcher (`patternmatcher.go`,
//! `ignorefile/ignorefile.go`), which differ from .gitignore's: a pattern is
//! anchored at the context's root, the last match wins, and a `!` line brings a
//! file back even out of an excluded directory.

use std::path::Component;

/// The patterns of one ignore file.
#[derive(Default)]
pub struct IgnoreFile {
    patterns: Vec<Pattern>,
}

struct Pattern {
    glob: Vec<char>,
    brings_back: bool,
}

impl IgnoreFile {
    /// Parses the text of a .dockerignore.
    pub fn parse(text: &str) -> IgnoreFile {
        let lines =
            text.trim_start_matches('\u{feff}').lines().filter(|line| !line.starts_with('#'));
        let patterns = lines.map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            let bare = line.strip_prefix('!');
            Pattern {
                glob: clean(bare.unwrap_or(line).trim()).chars().collect(),
                brings_back: bare.is_some(),
            }
        });
        IgnoreFile { patterns: patterns.filter(|pattern| !pattern.glob.is_empty()).collect() }
    }

    /// Whether `path`, relative to the context and with `/` between its parts,
    /// stays out of the build context.
    pub fn excludes(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let parents = path.iter().enumerate().filter(|(_, c)| **c == '/').map(|(i, _)| i);
        let prefixes: Vec<&[char]> = parents.chain([path.len()]).map(|end| &path[..end]).collect();
        let mut excluded = false;
        for pattern in &self.patterns {
            if pattern.brings_back == excluded
                && prefixes.iter().any(|prefix| matches(&pattern.glob, prefix))
            {
                excluded = !pattern.brings_back;
            }
        }
        excluded
    }

    /// Whether nothing below an excluded directory can come back, so that it
    /// need not be walked.
    pub fn prunes(&self) -> bool {
        !self.patterns.iter().any(|pattern| pattern.brings_back)
    }
}

/// Go's `filepath.Clean`, less a leading slash.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in std::path::Path::new(pattern).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

/// `*` and `?` stay within one part of the path, `**` crosses parts, `[a-z]`
/// and `[^a-z]` are classes, `\` takes the next character as it is.
fn matches(glob: &[char], path: &[char]) -> bool {
    match glob {
        [] => path.is_empty(),
        ['*', '*'] | ['*', '*', '/'] => true,
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            matches(rest, path)
                || (0..path.len()).any(|i| path[i] == '/' && matches(rest, &path[i + 1..]))
        }
        ['*', rest @ ..] => {
            let end = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=end).any(|i| matches(rest, &path[i..]))
        }
        ['?', rest @ ..] => {
            path.split_first().is_some_and(|(c, tail)| *c != '/' && matches(rest, tail))
        }
        ['[', rest @ ..] if rest.contains(&']') => {
            let end = 1 + rest.iter().skip(1).position(|c| *c == ']').unwrap_or(0);
            path.split_first().is_some_and(|(c, tail)| {
                in_class(&rest[..end], *c) && matches(&rest[end + 1..], tail)
            })
        }
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            path.split_first().is_some_and(|(c, tail)| c == literal && matches(rest, tail))
        }
    }
}

fn in_class(class: &[char], c: char) -> bool {
    let (negated, class) = class.strip_prefix(&['^']).map_or((false, class), |rest| (true, rest));
    let mut found = false;
    let mut rest = class;
    while let [from, tail @ ..] = rest {
        (found, rest) = match tail {
            ['-', to, tail @ ..] => (found || (*from..=*to).contains(&c), tail),
            _ => (found || *from == c, tail),
        };
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pattern() {
        for (pattern, path, excluded) in [
            ("docs", "docs/a/b", true),
            ("docs", "src/docs", false),
            ("/docs/", "docs", true),
            ("./docs/../src", "src/x", true),
            ("*.md", "README.md", true),
            ("*.md", "docs/README.md", false),
            ("*/temp*", "a/temporary.txt", true),
            ("*/temp*", "a/b/temporary.txt", false),
            ("**/*.pyc", "a.pyc", true),
            ("**/*.pyc", "a/b/c.pyc", true),
            ("**/__pycache__", "a/__pycache__/x.pyc", true),
            ("**/.foo", "bar.foo", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**", "a/x/y", true),
            ("**", "anything/at/all", true),
            ("temp?", "temp1", true),
            ("temp?", "temp", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a(b)c/d.e", "a(b)c/d.e", true),
            ("a.c", "abc", false),
            ("été", "été/x", true),
        ] {
            assert_eq!(IgnoreFile::parse(pattern).excludes(path), excluded, "{pattern} on {path}");
        }
    }

    #[test]
    fn the_last_match_wins() {
        for (text, path, excluded) in [
            ("**\n!util/web", "util/web/foo", false),
            ("**\n!util/web\nutil/web/foo", "util/web/foo", true),
            ("*.md\n!README.md", "README.md", false),
            ("!README.md\n*.md", "README.md", true),
            ("\u{feff}# comment\n\n  a  \r\n", "a", true),
            ("# a", "a", false),
        ] {
            assert_eq!(IgnoreFile::parse(text).excludes(path), excluded, "{text:?} on {path}");
        }
        assert!(IgnoreFile::parse("a").prunes() && !IgnoreFile::parse("a\n!a/b").prunes());
    }
}
