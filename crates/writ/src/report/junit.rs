//! JUnit XML, as test reports of CI systems read it: each commit is a test case, and what is held is one more.

use std::fmt::{Error, Write as _};

use super::{Refusal, Verification};
use crate::output::printable_lines;

/// The document.
pub(super) fn report(verification: &Verification) -> Result<String, Error> {
    let (tests, failures) =
        (verification.steps.len() + usize::from(verification.held().is_some()), verification.findings().count());
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    writeln!(text, "<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">")?;
    writeln!(
        text,
        "  <testsuite name=\"writ verify\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\">"
    )?;
    for step in &verification.steps {
        write!(text, "    <testcase classname=\"writ.verify\" name=\"{}\"", step.commit)?;
        if let Some(place) = &step.place {
            write!(text, " file=\"{}\"", escaped(&place.path))?;
        }
        text.push_str(">\n");
        if let Some(refusal) = step.refusal() {
            failure(&mut text, &refusal)?;
        }
        writeln!(text, "      <system-out>{}</system-out>\n    </testcase>", escaped(&step.who()))?;
    }
    if let Some(held) = verification.held() {
        writeln!(text, "    <testcase classname=\"writ.verify.held\" name=\"{}\">", held.commit)?;
        failure(&mut text, &held)?;
        text.push_str("    </testcase>\n");
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    Ok(text)
}

fn failure(text: &mut String, refusal: &Refusal<'_>) -> Result<(), Error> {
    let (code, title, found) = (refusal.entry.code, escaped(&refusal.title()), escaped(&refusal.text()));
    writeln!(text, "      <failure type=\"{code}\" message=\"{title}\">{found}</failure>")
}

/// Text for content and attributes. What XML 1.0 cannot hold at all is spelled out.
fn escaped(text: &str) -> String {
    printable_lines(text).chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            // In an attribute it would be read as a space.
            '\n' => safe.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => safe.extend(character.escape_unicode()),
            other => safe.push(other),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{held, hostile, sample},
        *,
    };

    #[test]
    fn a_test_case_for_each_commit() {
        let [one, two, three] = ["01", "02", "03"].map(|byte| byte.repeat(20));
        let expected = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="2" errors="0">
  <testsuite name="writ verify" tests="3" failures="2" errors="0" skipped="0">
    <testcase classname="writ.verify" name="{one}">
      <system-out>signed by bob with SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU</system-out>
    </testcase>
    <testcase classname="writ.verify" name="{two}">
      <failure type="W301" message="W301 Unsigned">commit 020202020202: unsigned; needed: a signature&#10;fix: git x &amp;&amp; y</failure>
      <system-out>no valid signature</system-out>
    </testcase>
    <testcase classname="writ.verify" name="{three}" file=".writ/a file.yaml">
      <failure type="W502" message="W502 TrustFileInvalid">.writ/a file.yaml:3:7: a mistake; needed: a signature&#10;fix: git x &amp;&amp; y</failure>
      <system-out>no valid signature</system-out>
    </testcase>
  </testsuite>
</testsuites>
"#
        );
        assert_eq!(report(&sample()).unwrap(), expected);
    }

    #[test]
    fn what_is_held_is_a_test_case_that_fails() {
        let text = report(&held()).unwrap();
        assert!(text.contains("<testsuites tests=\"2\" failures=\"1\" errors=\"0\">"), "{text}");
        let case = format!(
            "    <testcase classname=\"writ.verify.held\" name=\"{}\">\n      <failure type=\"W304\" message=\"W304 Revoked\">",
            "01".repeat(20)
        );
        assert!(text.contains(&case), "{text}");
    }

    #[test]
    fn nobody_adds_an_element() {
        let text = report(&hostile()).unwrap();
        // The sample has one refused commit more: three elements with their ends.
        assert_eq!(text.matches('<').count(), report(&sample()).unwrap().matches('<').count() - 6, "{text}");
        assert!(!text.contains("<script") && !text.contains("]]>"), "{text}");
        let is_allowed = |character: char| character == '\n' || (!character.is_control() && character != '\u{ffff}');
        assert!(text.chars().all(is_allowed), "{text:?}");
    }
}
