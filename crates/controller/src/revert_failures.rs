//! Reverts that do not succeed: drift that stays in the cluster, and that somebody must be told of.

use std::{collections::BTreeMap, time::Duration};

use manifest::{Finding, ObjectRef};
use plan::SyncRef;

use crate::{
    announce::MAX_ANNOUNCED,
    state::{Dirty, State},
};

/// Pause before a revert that did not succeed is tried again; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// The longest pause: what somebody mends is noticed within five minutes, at 300 requests a day.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The longest pause where an edit gives rights or lets something in: as little time as possible, at 2,880 requests a day.
const PAUSE_MAX_RIGHTS: Duration = Duration::from_secs(30);
/// Groups of kinds that decide who may do what.
const RIGHTS: [&str; 2] = ["rbac.authorization.k8s.io", "admissionregistration.k8s.io"];

/// Objects whose drift could not be reverted, by Sync. At most as many as are managed.
#[derive(Debug, Default)]
pub(crate) struct RevertFailures {
    syncs: BTreeMap<SyncRef, BTreeMap<ObjectRef, Failure>>,
}

#[derive(Debug)]
struct Failure {
    finding: Finding,
    /// In a row, this one included.
    attempts: u32,
}

/// What a failure adds to what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    Same,
    /// Other words for the same code.
    Reworded,
    /// A failure, or a code, that was not known of this object.
    New,
}

impl RevertFailures {
    /// What this failure would add to what is known.
    #[must_use]
    pub(crate) fn news(&self, sync: &SyncRef, object: &ObjectRef, finding: &Finding) -> News {
        match self.syncs.get(sync).and_then(|known| known.get(object)) {
            Some(before) if before.finding == *finding => News::Same,
            Some(before) if before.finding.code == finding.code => News::Reworded,
            _ => News::New,
        }
    }

    /// Notes why an object could not be reverted.
    pub(crate) fn note(&mut self, sync: &SyncRef, object: &ObjectRef, finding: &Finding) -> News {
        let news = self.news(sync, object, finding);
        let known = self.syncs.entry(sync.clone()).or_default();
        let attempts = known.get(object).map_or(0, |before| before.attempts).saturating_add(1);
        known.insert(object.clone(), Failure { finding: finding.clone(), attempts });
        news
    }

    /// How long to wait before the revert of an object is tried again.
    #[must_use]
    pub(crate) fn pause(&self, sync: &SyncRef, object: &ObjectRef) -> Duration {
        let attempts = self.syncs.get(sync).and_then(|known| known.get(object)).map_or(1, |failure| failure.attempts);
        let doublings = attempts.saturating_sub(1).min(PAUSE_MAX.as_secs().ilog2());
        let gives_rights = RIGHTS.contains(&object.group_kind.group.as_str());
        let longest = if gives_rights { PAUSE_MAX_RIGHTS } else { PAUSE_MAX };
        PAUSE_FIRST.saturating_mul(1 << doublings).min(longest)
    }

    /// The object is as declared, or nobody's business any more. Returns whether it was known.
    pub(crate) fn clear(&mut self, sync: &SyncRef, object: &ObjectRef) -> bool {
        let Some(known) = self.syncs.get_mut(sync) else { return false };
        let removed = known.remove(object).is_some();
        if known.is_empty() {
            self.syncs.remove(sync);
        }
        removed
    }

    /// The failures of a Sync.
    pub(crate) fn of(&self, sync: &SyncRef) -> impl ExactSizeIterator<Item = &Finding> + Clone {
        self.syncs.get(sync).map(BTreeMap::values).unwrap_or_default().map(|failure| &failure.finding)
    }

    /// Keeps only what is known of objects that `keep` names.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&SyncRef, &ObjectRef) -> bool) {
        self.syncs.retain(|sync, known| {
            known.retain(|object, _| keep(sync, object));
            !known.is_empty()
        });
    }
}

impl State {
    /// An object of a Sync drifted and could not be put back: it is told once, and shown until it is
    /// put back.
    pub(crate) fn note_revert_failure(&mut self, sync: &SyncRef, object: &ObjectRef, finding: &Finding) -> News {
        let news = self.revert_failures.note(sync, object, finding);
        if news == News::Same {
            return news;
        }
        self.dirty.insert(Dirty::Sync(sync.clone()));
        // Of very many at once the condition tells the number.
        if news == News::New && self.revert_failures.of(sync).len() <= MAX_ANNOUNCED {
            self.announce_revert_failure(sync, object, finding);
        }
        news
    }

    /// The object is as declared again, or is no longer declared.
    pub(crate) fn clear_revert_failure(&mut self, sync: &SyncRef, object: &ObjectRef) {
        if self.revert_failures.clear(sync, object) {
            self.dirty.insert(Dirty::Sync(sync.clone()));
        }
    }

    /// Forgets failures of objects that their Sync no longer declares.
    pub(crate) fn forget_undeclared_failures(&mut self) {
        let syncs = &self.syncs;
        self.revert_failures.retain(|sync, object| {
            let accepted = syncs.get(sync).and_then(|state| state.accepted.as_ref());
            accepted.is_some_and(|accepted| accepted.get(object).is_some())
        });
    }
}

#[cfg(test)]
mod tests {
    use manifest::{ClusterId, GroupKind, Subject};

    use super::*;
    use crate::code::ControllerCode;

    fn object(name: &str) -> ObjectRef {
        ObjectRef {
            cluster: ClusterId::new("c"),
            group_kind: GroupKind::new("", "ConfigMap"),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    fn finding(code: ControllerCode, found: &str) -> Finding {
        Finding {
            code: code.entry(),
            subject: Subject::Named("x".into()),
            rule: None,
            found: found.into(),
            needed: manifest::Words::default(),
            fix: manifest::Words::default(),
        }
    }

    #[test]
    fn a_failure_is_news_once_per_object_and_code() {
        let sync = SyncRef { namespace: "shop".into(), name: "web".into() };
        let mut failures = RevertFailures::default();
        let steps = [
            ("a", ControllerCode::A140, "full", News::New),
            ("a", ControllerCode::A140, "full", News::Same),
            ("a", ControllerCode::A140, "still full", News::Reworded),
            ("b", ControllerCode::A140, "full", News::New),
            ("a", ControllerCode::A143, "defect", News::New),
        ];
        for (name, code, found, expected) in steps {
            assert_eq!(failures.note(&sync, &object(name), &finding(code, found)), expected, "{name} {found}");
        }
        assert_eq!(failures.of(&sync).len(), 2);
        assert_eq!(failures.pause(&sync, &object("b")), PAUSE_FIRST);
        assert_eq!(failures.pause(&sync, &object("a")), PAUSE_FIRST * 8);
        for _ in 0..100 {
            failures.note(&sync, &object("b"), &finding(ControllerCode::A140, "full"));
        }
        assert_eq!(failures.pause(&sync, &object("b")), PAUSE_MAX);
        let role = ObjectRef { group_kind: GroupKind::new(RIGHTS[0], "Role"), ..object("r") };
        for _ in 0..100 {
            failures.note(&sync, &role, &finding(ControllerCode::A140, "full"));
        }
        assert_eq!(failures.pause(&sync, &role), PAUSE_MAX_RIGHTS);
        assert!(failures.clear(&sync, &role));
        assert!(failures.clear(&sync, &object("a")));
        assert!(!failures.clear(&sync, &object("a")));
        assert_eq!(failures.note(&sync, &object("a"), &finding(ControllerCode::A143, "defect")), News::New);
        failures.retain(|_, object| object.name == "b");
        assert_eq!(failures.of(&sync).len(), 1);
        failures.retain(|_, _| false);
        assert_eq!(failures.of(&sync).len(), 0);
    }
}
