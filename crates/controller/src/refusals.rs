//! Refusals: what is written of one, and which was written last.

use std::collections::HashMap;

use manifest::{Digest, Finding};
use plan::VerdictInputs;

/// What a refusal entry says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused<'a> {
    /// The revision.
    pub revision: &'a str,
    /// Why.
    pub findings: &'a [Finding],
    /// What it was judged by, where a verdict was reached.
    pub inputs: Option<&'a VerdictInputs>,
}

impl Refused<'_> {
    /// What makes two refusals the same: revision and findings.
    #[must_use]
    pub(crate) fn fingerprint(&self) -> Digest {
        let mut parts = vec![self.revision.to_owned()];
        parts.extend(self.findings.iter().map(ToString::to_string));
        Digest::of_parts(parts.iter().map(String::as_bytes))
    }
}

/// Which refusal of an owner was logged last, so that the same one is logged once.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    last: HashMap<String, Digest>,
}

impl Refusals {
    /// True if this refusal of `owner` is not the one noted last; notes it.
    pub(crate) fn is_new(&mut self, owner: &str, refused: &Refused<'_>) -> bool {
        let fingerprint = refused.fingerprint();
        self.last.insert(owner.to_owned(), fingerprint) != Some(fingerprint)
    }

    /// The same, of one whose words tell the time: by codes alone.
    pub(crate) fn is_new_code(&mut self, owner: &str, revision: &str, findings: &[Finding]) -> bool {
        let codes = findings.iter().map(|finding| finding.code.code);
        let fingerprint = Digest::of_parts([revision].into_iter().chain(codes).map(str::as_bytes));
        self.last.insert(owner.to_owned(), fingerprint) != Some(fingerprint)
    }

    /// Notes what was told before the restart.
    pub(crate) fn note(&mut self, owner: &str, refused: &Refused<'_>) {
        self.last.insert(owner.to_owned(), refused.fingerprint());
    }

    /// `owner` is no longer refused, or gone.
    pub(crate) fn clear(&mut self, owner: &str) {
        self.last.remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_new_once() {
        let mut refusals = Refusals::default();
        let refused = |revision| Refused { revision, findings: &[], inputs: None };
        assert!(refusals.is_new("Sync a/b", &refused("1")));
        assert!(!refusals.is_new("Sync a/b", &refused("1")));
        assert!(refusals.is_new("Sync a/b", &refused("2")));
        refusals.clear("Sync a/b");
        assert!(refusals.is_new("Sync a/b", &refused("2")));
    }
}
