//! Whether a trust file may be written as an edit has left it: by what is wrong with it then, against what was wrong before.

use std::collections::BTreeMap;

use jiff::Timestamp;
use manifest::Finding;

use super::{TrustFile, check::check};

impl TrustFile {
    /// What is still wrong with this file, which an edit has made of `before`: nothing, or less than before. What is within reach
    /// depends on the keys in force: at a time, all but those that have ended.
    ///
    /// # Errors
    /// All that is wrong with it, if that is as bad as before or worse.
    pub fn left_by_edit(&self, before: &Self, at: Option<Timestamp>) -> Result<Vec<Finding>, Vec<Finding>> {
        let left = check(self, at);
        if left.is_empty() {
            return Ok(left);
        }
        let wrong = check(before, at);
        let (now, then) = (counts(&left), counts(&wrong));
        let none_is_new = now.iter().all(|(kind, count)| then.get(kind).is_some_and(|before| before >= count));
        let is_less = now != then || self.lacking(at) < before.lacking(at);
        if none_is_new && is_less { Ok(left) } else { Err(left) }
    }

    /// How many more would have to be able to sign until every threshold is within reach.
    fn lacking(&self, at: Option<Timestamp>) -> usize {
        let lacking = self.rules.iter().flat_map(|rule| rule.any_of.iter().map(move |item| self.lacks(rule, item, at)));
        lacking.fold(0, usize::saturating_add)
    }
}

/// How often each code is found about each rule.
fn counts(findings: &[Finding]) -> BTreeMap<(&str, Option<&str>), usize> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        let count: &mut usize = counts.entry((finding.code.code, finding.rule.as_deref())).or_default();
        *count = count.saturating_add(1);
    }
    counts
}
