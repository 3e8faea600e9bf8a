//! One managed object: what was seen of it last, what our applies came to, and what waits for an answer.

use manifest::Digest;
use plan::{FieldClass, FieldDiff, Lifecycle, Manager, SyncRef, Visibility, declared_differences, surplus};
use serde_json::Value;

use super::{Applied, Declared, Expected, Explained, Observation, Sight};

/// A content that was found to be as declared, and need not be compared again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AsDeclared {
    declared: Digest,
    content: u128,
}

/// What our own apply of a declaration came to, if that was not what it asked for: something rewrites
/// the object on its way in. Kept until an answer or a sight is as declared.
#[derive(Debug, Clone)]
pub(super) struct Contested {
    declared: Digest,
    drift: Vec<FieldDiff>,
}

/// What was seen of an object last.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) lifecycle: Lifecycle,
    pub(super) manager: Manager,
    pub(super) drift: Vec<FieldDiff>,
    /// Whether the drift is what our own apply was answered with.
    pub(super) contested: bool,
    /// Whether there was a declaration to compare with.
    pub(super) judged: bool,
}

/// One managed object.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) owner: Option<SyncRef>,
    pub(super) expected: Option<Expected>,
    pub(super) seen: Option<Seen>,
    pub(super) as_declared: Option<AsDeclared>,
    pub(super) contested: Option<Box<Contested>>,
    /// The plans whose requests are under way; events are kept until they are answered.
    pub(super) in_flight: Vec<Digest>,
    /// The last event that arrived meanwhile.
    pub(super) waiting: Option<Waiting>,
    /// What others added is another than was recorded.
    pub(super) has_news: bool,
}

/// An event that waits for the answer to a request of ours.
#[derive(Debug)]
pub(super) enum Waiting {
    Seen(Observation),
    Gone { resource_version: String },
}

impl Waiting {
    pub(super) fn resource_version(&self) -> &str {
        match self {
            Self::Seen(observation) => &observation.resource_version,
            Self::Gone { resource_version } => resource_version,
        }
    }
}

impl Entry {
    /// One request of a plan is over. Returns whether one was under way.
    pub(super) fn end(&mut self, plan: Digest) -> bool {
        let at = self.in_flight.iter().position(|begun| *begun == plan);
        at.map(|at| self.in_flight.swap_remove(at)).is_some()
    }

    /// Whether an event tells of a time before what is known of the same object.
    pub(super) fn is_old(&self, uid: &str, resource_version: &str) -> bool {
        let seen = self.seen.as_ref().filter(|seen| seen.judged && seen.uid == uid);
        seen.is_some_and(|seen| is_newer(&seen.resource_version, resource_version))
    }

    pub(super) fn judge_gone(&mut self, resource_version: &str) -> Sight {
        let older =
            self.seen.as_ref().is_some_and(|seen| seen.judged && !is_newer(resource_version, &seen.resource_version));
        // The end of an earlier object of the same name, or of an earlier sight, is no news about this one.
        if older {
            return Sight::Past;
        }
        self.seen = None;
        Sight::Drifted
    }

    /// The answer to an apply of the declared body.
    pub(super) fn answer(&mut self, applied: Applied, declared: &Declared<'_>) -> Sight {
        self.expect(&applied);
        let observation = &applied.seen;
        // A revert mostly ends where the edit began: that was compared before.
        let drift = self.differences(observation, declared, applied.compared);
        let is_contested = !drift.is_empty();
        self.contested = is_contested.then(|| Box::new(Contested { declared: declared.digest, drift: drift.clone() }));
        self.seen = Some(Seen::of(observation, drift, is_contested, Some(declared)));
        if is_contested { Sight::Contested } else { Sight::Settled }
    }

    /// What our apply left. What is known of the same object stays.
    fn expect(&mut self, applied: &Applied) {
        let seen = &applied.seen;
        let before = self.expected.take().filter(|before| *before.uid == *seen.uid);
        let (known, added) = before.map(|before| (before.explained, before.added)).unwrap_or_default();
        self.expected = Some(Expected {
            applied: applied.digest,
            uid: seen.uid.as_str().into(),
            resource_version: seen.resource_version.as_str().into(),
            generation: seen.generation,
            explained: applied.explained.clone().or(known),
            added,
        });
    }

    /// An answer that tells of a time before what is known.
    pub(super) fn stands(&mut self, applied: &Applied, declared: &Declared<'_>) -> Sight {
        if applied.digest == declared.digest {
            self.expect(applied);
        }
        match &self.seen {
            Some(seen) if seen.contested => Sight::Contested,
            Some(seen) if !seen.drift.is_empty() => Sight::Drifted,
            _ => Sight::Settled,
        }
    }

    pub(super) fn judge(&mut self, observation: &Observation, declared: Option<&Declared<'_>>) -> Sight {
        let Some(declared) = declared else {
            self.seen = Some(Seen::of(observation, Vec::new(), false, None));
            return Sight::Settled;
        };
        let drift = self.differences(observation, declared, None);
        if drift.is_empty() {
            self.contested = None;
        }
        // Whatever else may have changed: the next apply would come to the same.
        let known = self.contested.as_ref().filter(|known| known.declared == declared.digest);
        let is_contested = known.is_some_and(|known| known.drift == drift);
        let sight = match (drift.is_empty(), is_contested) {
            (true, _) => Sight::Settled,
            (false, true) => Sight::Contested,
            (false, false) => Sight::Drifted,
        };
        self.seen = Some(Seen::of(observation, drift, is_contested, Some(declared)));
        sight
    }

    /// How the object differs from its declaration. What was found to be as declared before is not
    /// compared again.
    pub(super) fn differences(
        &mut self,
        observation: &Observation,
        declared: &Declared<'_>,
        compared: Option<Vec<FieldDiff>>,
    ) -> Vec<FieldDiff> {
        let this = AsDeclared { declared: declared.digest, content: observation.content };
        if self.as_declared == Some(this) {
            return Vec::new();
        }
        let explained = self.explained(observation, declared);
        let (drift, surplus) = match compared {
            Some(drift) => (drift, None),
            None => compare(observation, declared, explained.is_some()),
        };
        if drift.is_empty() {
            self.as_declared = Some(this);
        }
        if let (Some(explained), Some(surplus), Some(expected)) = (explained, surplus, &mut self.expected) {
            let added = explained.added(surplus);
            self.has_news |= expected.added != added;
            expected.added = added;
        }
        drift
    }

    /// What the server made of this object, if that is known and may be shown.
    fn explained(&self, observation: &Observation, declared: &Declared<'_>) -> Option<Explained> {
        let expected = self.expected.as_ref().filter(|expected| *expected.uid == *observation.uid)?;
        expected.explained.clone().filter(|_| declared.visibility == Visibility::Shown)
    }
}

impl Seen {
    pub(super) fn of(
        observation: &Observation,
        drift: Vec<FieldDiff>,
        contested: bool,
        declared: Option<&Declared<'_>>,
    ) -> Self {
        Self {
            uid: observation.uid.clone(),
            resource_version: observation.resource_version.clone(),
            lifecycle: observation.lifecycle,
            manager: observation.manager,
            drift,
            contested,
            judged: declared.is_some(),
        }
    }
}

/// How an object differs from its declaration. What it has beyond it is looked at once the rest is as declared: a revert
/// does not wait for it.
fn compare(
    observation: &Observation,
    declared: &Declared<'_>,
    with_surplus: bool,
) -> (Vec<FieldDiff>, Option<Vec<String>>) {
    match (serde_json::from_slice::<Value>(declared.body), serde_json::from_slice::<Value>(&observation.json)) {
        (Ok(body), Ok(live)) => {
            let drift = declared_differences(&body, &live, declared.kind, declared.visibility);
            let surplus = (with_surplus && drift.is_empty()).then(|| surplus(&body, &live, declared.kind));
            (drift, surplus)
        }
        // What cannot be read cannot be called as declared.
        _ => {
            let path = "(unreadable)".to_owned();
            (vec![FieldDiff { path, before: None, after: None, class: FieldClass::Object }], None)
        }
    }
}

/// Whether `version` is newer than `than`. Kubernetes compares resource versions of one resource as
/// integers since 1.35; what is no integer is taken as newer, so that it is looked at.
pub(super) fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}
