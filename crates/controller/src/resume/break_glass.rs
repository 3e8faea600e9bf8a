//! What the log knows of commits that orders let through.

use audit::EntryKind;
use manifest::Finding;
use serde::Deserialize;
use trust::TrustRootSpec;

use super::{body, latest, unreadable};
use crate::{
    break_glass::{OVER, Override, Overrides},
    journal::Journal,
};

/// Everything that orders let through in this repository, and what of it is still as they left it.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn overrides(journal: &Journal, root: &TrustRootSpec) -> Result<Overrides, Finding> {
    /// The part of the body that is read.
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "override")]
        order: Override,
    }
    let (log, mut overrides) = (journal.log(), Overrides::default());
    let subject = [("repoId", root.repo_id.as_str()), ("ref", root.r#ref.as_str())];
    // The whole log is read only if there is something in it.
    if latest(log, EntryKind::Override, &subject)?.is_none() {
        return Ok(overrides);
    }
    for found in log.entries(0..log.len()) {
        let found = found.map_err(|error| unreadable(&error.to_string()))?;
        let says = |(name, value): &(&str, &str)| found.entry.subject.get(*name).is_some_and(|said| said == value);
        if found.entry.kind != EntryKind::Override || !subject.iter().all(says) {
            continue;
        }
        if says(&("result", OVER)) {
            let commit = found.entry.subject.get("commit");
            overrides.active.retain(|order| Some(&order.commit.to_string()) != commit);
            continue;
        }
        let body = body(journal, &found)?.ok_or_else(|| unreadable("the body of an override is lost"))?;
        let body: Body = serde_json::from_slice(&body).map_err(|error| unreadable(&error.to_string()))?;
        overrides.add(body.order);
    }
    Ok(overrides)
}
