//! What was refused before a restart, read back from the log: the same refusal is told and logged once.

use audit::{EntryKind, Log};
use jiff::Timestamp;
use manifest::{CodeEntry, Finding, Subject};
use serde::Deserialize;

use crate::{code::ControllerCode, state::Held};

/// The body of a refusal.
#[derive(Deserialize)]
struct Body {
    findings: Vec<LoggedFinding>,
}

/// A finding as it stands in the log.
#[derive(Deserialize)]
struct LoggedFinding {
    code: String,
    subject: String,
    rule: Option<String>,
    found: String,
    needed: String,
    fix: String,
}

impl LoggedFinding {
    fn finding(self) -> Option<Finding> {
        let Self { code, subject, rule, found, needed, fix } = self;
        Some(Finding {
            code: entry_of(&code)?,
            subject: Subject::Named(subject),
            rule,
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        })
    }
}

/// The newest refusal of `owner` (`kind namespace/name`), if it is newer than the entry `after`. What
/// cannot be read is no refusal that is known: it is judged, told and logged again.
pub(crate) fn refusal(log: &Log, owner: &str, after: Option<u64>) -> Option<Held> {
    let found = log.latest(EntryKind::Refuse, &[("owner", owner)]).ok()??;
    if after.is_some_and(|after| found.index < after) {
        return None;
    }
    let body = log.body(&found.entry.body_digest()?).ok()??;
    let Body { findings } = serde_json::from_slice(&body).ok()?;
    let findings: Vec<Finding> = findings.into_iter().map(LoggedFinding::finding).collect::<Option<_>>()?;
    let since: Timestamp = found.entry.time.parse().ok()?;
    let revision = found.entry.subject.get("commit")?.clone();
    (!findings.is_empty()).then_some(Held { revision, findings, signer: None, since })
}

/// The register entry of a code; `None` for one that this version does not give.
fn entry_of(code: &str) -> Option<&'static CodeEntry> {
    let all = trust::TrustCode::ALL.iter().map(|code| code.entry());
    let all = all.chain(manifest::ManifestCode::ALL.iter().map(|code| code.entry()));
    let all = all.chain(policy::PolicyCode::ALL.iter().map(|code| code.entry()));
    let all = all.chain(plan::PlanCode::ALL.iter().map(|code| code.entry()));
    let all = all.chain(git::GitCode::ALL.iter().map(|code| code.entry()));
    let all = all.chain(cluster::ClusterCode::ALL.iter().map(|code| code.entry()));
    let mut all = all.chain(ControllerCode::ALL.iter().map(|code| code.entry()));
    all.find(|entry| entry.code == code)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use manifest::RepoPath;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        journal::Journal,
        refusals::{Refusals, Refused},
    };

    #[test]
    fn a_refusal_is_read_back_as_it_was_told() {
        let folder = TempDir::new().unwrap();
        let key = audit::LogKey::generate("writ.test/log").unwrap();
        let public = key.public().to_string();
        let journal = Journal::new(Arc::new(Log::open(folder.path(), key, "writ.test/log").unwrap()), &public);
        let path: RepoPath = "apps/a.yaml".parse().unwrap();
        let finding = Finding {
            code: manifest::ManifestCode::M117.entry(),
            subject: Subject::Path { path, line: Some(2), column: None },
            rule: Some("apps".into()),
            found: "kind Order is not known".into(),
            needed: "a known kind".into(),
            fix: "commit its definition".into(),
        };
        let findings = [finding];
        let refused = Refused { revision: "c0ffee", findings: &findings, inputs: None };
        let at: Timestamp = "2026-11-23T21:00:00Z".parse().unwrap();
        assert!(refusal(journal.log(), "Sync shop/web", None).is_none());
        let receipt = journal.refuse(at, "Sync shop/web", &refused).unwrap();
        let held = refusal(journal.log(), "Sync shop/web", None).unwrap();
        assert_eq!((held.revision.as_str(), held.since, held.findings.len()), ("c0ffee", at, 1));
        assert_eq!(held.findings[0].to_string(), findings[0].to_string());
        // The same again is no news.
        let mut refusals = Refusals::default();
        let read = Refused { revision: &held.revision, findings: &held.findings, inputs: None };
        assert!(refusals.is_new("Sync shop/web", &read) && !refusals.is_new("Sync shop/web", &refused));
        // What was accepted since ends it; another owner has its own.
        assert!(refusal(journal.log(), "Sync shop/web", Some(receipt.index() + 1)).is_none());
        assert!(refusal(journal.log(), "Sync shop/other", None).is_none());
    }
}
