//! The `.env` file: `NAME=value` lines, as shells and containers write them.
//!
//! Taken: blank lines, `#` comments, an `export` in front, single quotes (nothing is special inside), double quotes
//! (`\n`, `\"`, `\\` and `\$` are; the text may go over several lines), and a comment after an unquoted value. Variables
//! are not substituted.

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

/// Reads all assignments, in order, and all lines that are none.
pub(super) fn parse(text: &str) -> (Vec<Assignment>, Vec<BadLine>) {
    let mut assignments = Vec::new();
    let mut bad = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let Some((name, rest)) = split_name(trimmed) else {
            bad.push(BadLine {
                line: number,
                problem: "expected NAME=value",
            });
            continue;
        };
        let mut source = rest.to_owned();
        let value = loop {
            match unquote(&source) {
                Unquoted::Value(value) => break Some(value),
                Unquoted::Garbage => break None,
                Unquoted::Unfinished => match lines.next() {
                    Some((_, next)) => {
                        source.push('\n');
                        source.push_str(next);
                    }
                    None => break None,
                },
            }
        };
        match value {
            Some(value) => assignments.push(Assignment {
                line: number,
                name: name.to_owned(),
                value,
            }),
            None => bad.push(BadLine {
                line: number,
                problem: "the value's quotes do not close, or text follows them",
            }),
        }
    }
    (assignments, bad)
}

fn split_name(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let valid = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
    valid.then_some((name, value.trim_start()))
}

enum Unquoted {
    Value(String),
    Unfinished,
    Garbage,
}

fn unquote(source: &str) -> Unquoted {
    match source.chars().next() {
        Some('\'') => match source[1..].split_once('\'') {
            Some((value, rest)) => end_of_line(value.to_owned(), rest),
            None => Unquoted::Unfinished,
        },
        Some('"') => double_quoted(&source[1..]),
        Some(_) | None => {
            let value = source.split_once(" #").map_or(source, |(value, _)| value);
            Unquoted::Value(value.trim_end().to_owned())
        }
    }
}

fn double_quoted(source: &str) -> Unquoted {
    let mut value = String::new();
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return end_of_line(value, &source[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\' | '$'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => return Unquoted::Unfinished,
            },
            other => value.push(other),
        }
    }
    Unquoted::Unfinished
}

fn end_of_line(value: String, rest: &str) -> Unquoted {
    let rest = rest.trim();
    if rest.is_empty() || rest.starts_with('#') {
        Unquoted::Value(value)
    } else {
        Unquoted::Garbage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let (assignments, bad) = parse(text);
        assert_eq!(bad, [], "{text}");
        assignments.into_iter().map(|a| (a.name, a.value)).collect()
    }

    #[test]
    fn takes_what_shells_and_containers_write() {
        let text = "# a comment\n\nLOCAL_IP=192.168.1.10\nexport DEBUG = true # loud\nEMPTY=\nA='x # y'\r\nB=\"a \\\"b\\\" \\n\"\nHASH=a#b\nPEM=\"one\ntwo\"\nLAST=1";
        let expected = [
            ("LOCAL_IP", "192.168.1.10"),
            ("DEBUG", "true"),
            ("EMPTY", ""),
            ("A", "x # y"),
            ("B", "a \"b\" \n"),
            ("HASH", "a#b"),
            ("PEM", "one\ntwo"),
            ("LAST", "1"),
        ];
        assert_eq!(
            values(text),
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn names_the_line_of_what_is_no_assignment() {
        let (assignments, bad) = parse("A=1\nnonsense\nB-C=2\nD='x' y\nE=\"open");
        assert_eq!(assignments.len(), 1);
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }
}
