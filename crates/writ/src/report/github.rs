//! Workflow commands of GitHub Actions
//! (<https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>): one annotation for each refusal, and for what is held.

use std::fmt::{Error, Write as _};

use manifest::counted;

use super::Verification;
use crate::output::printable_lines;

/// The commands, and a line that is none.
pub(super) fn report(verification: &Verification) -> Result<String, Error> {
    let mut text = String::new();
    for refusal in verification.findings() {
        text.push_str("::error ");
        if let Some(place) = refusal.place {
            write!(text, "file={},", property(&place.path))?;
            if let Some(line) = place.line {
                write!(text, "line={line},")?;
            }
            if let Some(column) = place.column {
                write!(text, "col={column},")?;
            }
        }
        let message = format!("commit {}: {}", refusal.commit, refusal.text());
        writeln!(text, "title={}::{}", property(&refusal.title()), data(&message))?;
    }
    let commits = counted(verification.steps.len() as u64, "commit");
    writeln!(text, "{}: {commits} judged", verification.word())?;
    Ok(text)
}

/// What follows the second `::`.
fn data(text: &str) -> String {
    printable_lines(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{held, hostile, sample},
        *,
    };

    #[test]
    fn an_annotation_for_each_refusal() {
        let (two, three) = ("02".repeat(20), "03".repeat(20));
        let expected = format!(
            "::error title=W301 Unsigned::commit {two}: commit 020202020202: unsigned; needed: a signature%0Afix: git x && y\n\
             ::error file=.writ/a file.yaml,line=3,col=7,title=W502 TrustFileInvalid::commit {three}: .writ/a file.yaml:3:7: a mistake; needed: a signature%0Afix: git x && y\n\
             refused: 3 commits judged\n"
        );
        assert_eq!(report(&sample()).unwrap(), expected);
    }

    #[test]
    fn what_is_held_is_an_annotation() {
        let one = "01".repeat(20);
        let expected = format!(
            "::error title=W304 Revoked::commit {one}: commit 010101010101: it still holds what is revoked; needed: a signature%0Afix: git x && y\n\
             accepted, but held: 1 commit judged\n"
        );
        assert_eq!(report(&held()).unwrap(), expected);
    }

    #[test]
    fn nobody_adds_a_command_or_a_property() {
        let text = report(&hostile()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let (properties, _message) = lines[0].strip_prefix("::error ").unwrap().split_once("::").unwrap();
        let names: Vec<_> = properties.split(',').map(|property| property.split_once('=').unwrap().0).collect();
        assert_eq!(names, ["file", "title"], "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\r') && text.contains("%250A"), "{text}");
    }
}
