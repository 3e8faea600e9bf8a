//! A Markdown table, in the dialect of GitHub and GitLab.

use std::fmt::{Error, Write as _};

use manifest::counted;

use super::{Refusal, Verification, short};
use crate::output::printable;

/// The verdict and a row for each commit.
pub(super) fn report(verification: &Verification) -> Result<String, Error> {
    let commits = counted(verification.steps.len() as u64, "commit");
    let mut text = format!("**writ verify: {}** ({commits} judged)\n", verification.word());
    if let Some(held) = verification.held() {
        writeln!(text, "\nheld at `{}`: {}", short(&held.commit), told(&held))?;
    }
    if verification.steps.is_empty() {
        return Ok(text);
    }
    text.push_str("\n| commit | verdict | signer | finding |\n|---|---|---|---|\n");
    for step in &verification.steps {
        let signer = step.signer.as_ref().map_or_else(
            || "none".to_owned(),
            |signer| format!("{}<br>{}", cell(&signer.principal), cell(&signer.key)),
        );
        let found = step.refusal().as_ref().map_or_else(String::new, told);
        writeln!(text, "| `{}` | {} | {signer} | {found} |", step.short_id(), step.verdict.word())?;
    }
    Ok(text)
}

/// Code, what was found, and what mends it.
fn told(refusal: &Refusal<'_>) -> String {
    let found = format!("**{}**<br>{}", refusal.title(), cell(refusal.message));
    if refusal.fix.is_empty() { found } else { format!("{found}<br>fix: {}", cell(refusal.fix)) }
}

/// Text that is shown as it is: every sign that could mean something is written as its number, which Markdown never takes
/// for markup. As code, names in it notify nobody.
fn cell(text: &str) -> String {
    let mut safe = String::from("<code>");
    for character in printable(text).chars() {
        match character {
            '\n' => safe.push_str("</code><br><code>"),
            plain if plain.is_alphanumeric() || matches!(plain, ' ' | '-' | '/') => safe.push(plain),
            other => {
                // Writing to a string cannot fail.
                let _ok = write!(safe, "&#{};", u32::from(other));
            }
        }
    }
    safe.push_str("</code>");
    safe
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{held, hostile, sample},
        *,
    };

    #[test]
    fn a_row_for_each_commit() {
        let expected = "\
**writ verify: refused** (3 commits judged)

| commit | verdict | signer | finding |
|---|---|---|---|
| `010101010101` | accepted | <code>bob</code><br><code>SHA256&#58;47DEQpj8HBSa&#43;/TImW&#43;5JCeuQeRkm5NMpJWZG3hSuFU</code> |  |
| `020202020202` | refused | none | **W301 Unsigned**<br><code>commit 020202020202&#58; unsigned&#59; needed&#58; a signature</code><br>fix: <code>git x &#38;&#38; y</code> |
| `030303030303` | refused | none | **W502 TrustFileInvalid**<br><code>&#46;writ/a file&#46;yaml&#58;3&#58;7&#58; a mistake&#59; needed&#58; a signature</code><br>fix: <code>git x &#38;&#38; y</code> |
";
        assert_eq!(report(&sample()).unwrap(), expected);
    }

    #[test]
    fn what_is_held_is_told_above_the_table() {
        let text = report(&held()).unwrap();
        let lines: Vec<&str> = text.lines().take(4).collect();
        let expected = "held at `010101010101`: **W304 Revoked**<br><code>commit 010101010101&#58; it still holds what is revoked&#59; needed&#58; a signature</code><br>fix: <code>git x &#38;&#38; y</code>";
        assert_eq!(lines, ["**writ verify: accepted, but held** (1 commit judged)", "", expected, ""]);
    }

    #[test]
    fn nobody_adds_a_cell_a_row_or_markup() {
        let text = report(&hostile()).unwrap();
        assert_eq!(text.lines().count(), 6, "{text}");
        for row in text.lines().skip(4) {
            assert_eq!(row.matches('|').count(), 5, "{row}");
        }
        for sign in ["<script", "@team", "](", "https:", "`x`", "**b", "\u{1b}", "\r"] {
            assert!(!text.contains(sign), "{sign:?}\n{text}");
        }
    }
}
