//! What the audit log tells after the fact: it comes when it comes, and what was said of drift until then is amended.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use manifest::ObjectRef;
use plan::{Attribution, Confidence, Level, SyncRef};

use crate::{audit_source::Wanted, state::State};

/// How long it is waited: an API server writes its audit log at once, or in batches of at most 30 seconds.
const WAITED: SignedDuration = SignedDuration::from_secs(60);
/// Most changes that are waited for: a minute of 16 each second, at half a kilobyte.
const MAX_WAITING: usize = 1_000;

/// A change of which the audit log may still tell.
#[derive(Debug)]
struct Waiting {
    sync: SyncRef,
    object: ObjectRef,
    wanted: Wanted,
    /// How it was known when it was told.
    level: Option<Level>,
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Later(VecDeque<Waiting>);

impl Later {
    /// Waits for what the audit log says of this. The same change is waited for once.
    pub(crate) fn ask(&mut self, sync: &SyncRef, object: &ObjectRef, wanted: Wanted, level: Option<Level>) {
        let is_same = |one: &Waiting| one.object == *object && one.wanted.version == wanted.version;
        if self.0.len() < MAX_WAITING && !self.0.iter().any(is_same) {
            self.0.push_back(Waiting { sync: sync.clone(), object: object.clone(), wanted, level });
        }
    }

    /// What is known by now, by `who`.
    fn answered(
        &mut self,
        now: Timestamp,
        who: impl Fn(&Wanted) -> Vec<plan::Actor>,
    ) -> Vec<(SyncRef, ObjectRef, Attribution)> {
        let mut answered = Vec::new();
        self.0.retain(|one| {
            let actors = who(&one.wanted);
            // What is likely says less than what was observed.
            let is_more =
                |actor: &plan::Actor| actor.confidence == Confidence::Sure || one.level < Some(Level::Observed);
            if actors.iter().any(is_more) {
                answered.push((one.sync.clone(), one.object.clone(), Attribution { actors, gap: None }));
                return false;
            }
            // Whichever way the clock went.
            now.duration_since(one.wanted.seen).abs() < WAITED
        });
        answered
    }
}

impl State {
    /// Tells what the audit log said since, and writes it down.
    pub(crate) fn attribute_later(&mut self, now: Timestamp) {
        let Some(audit) = self.attributions.audit.clone() else { return };
        for (sync, object, by) in self.attributions.later.answered(now, |wanted| audit.who(wanted)) {
            tracing::info!(sync = %sync, object = %object, "it is known who it was that changed the object: {by}");
            if let Err(error) = self.journal.attributed(now, &sync, &object, &by) {
                self.log_failed(&error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use manifest::{ClusterId, GroupKind};
    use plan::Actor;

    use super::*;

    fn object(name: &str) -> ObjectRef {
        ObjectRef {
            cluster: ClusterId::new("c"),
            group_kind: GroupKind::new("", "ConfigMap"),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn wanted(name: &str) -> Wanted {
        Wanted {
            group: String::new(),
            resource: "configmaps".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: "u".to_owned(),
            version: Some("8".to_owned()),
            seen: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_comes_in_time_is_told_once_and_what_does_not_is_forgotten() {
        let sync = SyncRef { namespace: "shop".to_owned(), name: "shop".to_owned() };
        let mut later = Later::default();
        for (name, level) in [("a", None), ("a", None), ("b", Some(Level::Observed)), ("c", Some(Level::Claimed))] {
            later.ask(&sync, &object(name), wanted(name), level);
        }
        let second = |second| Timestamp::from_second(second).unwrap();
        let say = |confidence| move |_: &Wanted| vec![Actor::new(Level::Audited, confidence, "ana")];
        assert_eq!(later.answered(second(1), |_| Vec::new()).len(), 0);
        let likely = later.answered(second(2), say(Confidence::Likely));
        let names: Vec<&str> = likely.iter().map(|(_, object, _)| object.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(later.answered(second(3), say(Confidence::Sure)).len(), 1);
        later.ask(&sync, &object("d"), wanted("d"), None);
        assert_eq!(later.answered(second(61), |_| Vec::new()).len(), 0);
        assert_eq!(later.answered(second(62), say(Confidence::Sure)).len(), 0);
    }

    #[test]
    fn so_many_are_waited_for_and_no_more() {
        let sync = SyncRef { namespace: "shop".to_owned(), name: "shop".to_owned() };
        let mut later = Later::default();
        for n in 0..MAX_WAITING + 1 {
            later.ask(&sync, &object(&n.to_string()), wanted("x"), None);
        }
        assert_eq!(later.0.len(), MAX_WAITING);
    }
}
