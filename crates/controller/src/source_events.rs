//! What a GitSource's Events tell of verdicts. Their reasons are the same whatever was found: `CommitVerified`,
//! `CommitRefused`, `TrustChanged`; the code stands in the text.

use cluster::{Note, Severity};
use manifest::Finding;
use trust::AuthorizedCommit;

/// What the Events of verdicts are about.
const ACTION: &str = "Verify";

/// What a newly accepted commit is worth telling, after the one that was accepted `before`. The same again is no news.
#[must_use]
pub(crate) fn accepted(before: Option<&AuthorizedCommit>, now: &AuthorizedCommit) -> Vec<Note> {
    let normal = |reason, text| Note { severity: Severity::Normal, reason, action: ACTION, text, related: None };
    let mut notes = Vec::new();
    if before.is_none_or(|before| before.id() != now.id()) {
        let by = now
            .signer()
            .map_or_else(String::new, |signer| format!(", signed by {} ({}),", signer.principal, signer.key));
        let from = before.map_or_else(String::new, |before| format!("; before it {}", before.id()));
        notes.push(normal("CommitVerified", format!("commit {}{by} is verified{from}", now.id())));
    }
    if let Some(before) = before.filter(|before| before.trust_digest() != now.trust_digest()) {
        let text = if before.policy_version() == now.policy_version() {
            format!(
                "commit {} is verified by another TrustRoot than before, with version {} of the trust file",
                now.id(),
                now.policy_version()
            )
        } else {
            format!(
                "version {} of the trust file is in force since commit {}; before it version {}",
                now.policy_version(),
                now.id(),
                before.policy_version()
            )
        };
        notes.push(normal("TrustChanged", text));
    }
    notes
}

/// A refusal; `words` say which commit it is about, and whose it is. One that is about no commit goes by its code's reason.
#[must_use]
pub(crate) fn refused(finding: &Finding, words: Option<&str>) -> Note {
    let note = Note::of(finding, ACTION, words);
    Note { reason: if words.is_some() { "CommitRefused" } else { note.reason }, ..note }
}

#[cfg(test)]
mod tests {
    use testkit::TrustFile;

    use super::*;
    use crate::source_tests::{World, trust};

    fn told(notes: &[Note]) -> Vec<(&str, &str)> {
        notes.iter().map(|note| (note.reason, note.text.as_str())).collect()
    }

    #[test]
    fn what_is_accepted_is_told_once_and_a_change_of_trust_beside_it() {
        let world = World::new();
        let first = world.accept(None);
        let signer = first.signer().unwrap().key.to_string();
        let text = format!("commit {}, signed by root ({signer}), is verified", first.id());
        assert_eq!(told(&accepted(None, &first)), [("CommitVerified", text.as_str())]);
        assert_eq!(accepted(Some(&first), &first), []);
        world.config("two");
        let second = world.accept(Some(&first));
        let notes = accepted(Some(&first), &second);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].text.ends_with(&format!(" is verified; before it {}", first.id())), "{}", notes[0].text);
        let file = TrustFile::team("urn:shop", &world.root_key, &world.root_key, &world.sre);
        trust(&world.repo, &file.version(2), &world.root_key);
        let third = world.accept(Some(&second));
        let text = format!("version 2 of the trust file is in force since commit {}; before it version 1", third.id());
        assert_eq!(told(&accepted(Some(&second), &third))[1], ("TrustChanged", text.as_str()));
    }
}
