//! Who changed what, as the API server told us: the newest of it, until the watch tells of the change itself.

use std::{collections::VecDeque, sync::Mutex};

use jiff::{SignedDuration, Timestamp};
use plan::{Actor, Confidence, Level, MAX_ACTOR_GROUPS, MAX_ACTORS, actor_text};

use super::{
    lock,
    review::{Operation, Subject},
};
use crate::stamp::UserInfo;

/// How many are kept: a watch event follows within a second, and this is twice what an API server admits in one. At most
/// 10 groups of 200 characters each, mostly some 300 bytes in all: 1.2 MB.
const MAX_KEPT: usize = 4_096;
/// How many are taken within a second; what is beyond is allowed as all else, and not kept.
const MAX_EACH_SECOND: u32 = 4_000;
/// For how long it is said that some were not kept.
const LOSS_SAID: SignedDuration = SignedDuration::from_secs(60);

/// One change that was admitted.
#[derive(Debug, Clone)]
struct Observation {
    subject: Subject,
    name: String,
    groups: Vec<String>,
    operation: Operation,
    subresource: Option<String>,
    at: Timestamp,
}

/// What the watch saw of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Changed<'a> {
    /// It is there, with this content.
    To {
        /// Its UID.
        uid: &'a str,
        /// As [`cluster::Sighting::content`].
        content: u128,
        /// `spec.replicas`, if it has that.
        replicas: Option<i64>,
    },
    /// It is gone, or carries our label no more.
    Gone {
        /// The UID it had.
        uid: &'a str,
    },
}

/// What is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Those who may have done it.
    pub(crate) actors: Vec<Actor>,
    /// Why more is not known.
    pub(crate) gap: Option<String>,
}

/// Whether the API server asks us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The configuration has been ours since.
    Since(Timestamp),
    /// It is not, and why.
    Not(String),
}

#[derive(Debug)]
struct Kept {
    observations: VecDeque<Observation>,
    /// When something was not kept, last.
    lost: Option<Timestamp>,
    second: (i64, u32),
    asked: Asked,
}

/// All of it; shared by the thread that is told and the loop that asks.
#[derive(Debug)]
pub(crate) struct Observations(Mutex<Kept>);

impl Default for Observations {
    fn default() -> Self {
        Self(Mutex::new(Kept {
            observations: VecDeque::new(),
            lost: None,
            second: (0, 0),
            asked: Asked::Not("it has not been looked whether its webhook is there".to_owned()),
        }))
    }
}

impl Observations {
    /// Somebody does something.
    pub(super) fn note(
        &self,
        subject: Subject,
        user: &UserInfo,
        (operation, subresource): (Operation, &str),
        at: Timestamp,
    ) {
        let observation = Observation {
            subject,
            name: actor_text(&user.username),
            groups: user.groups.iter().take(MAX_ACTOR_GROUPS).map(|group| actor_text(group)).collect(),
            operation,
            subresource: (!subresource.is_empty()).then(|| actor_text(subresource)),
            at,
        };
        let mut kept = lock(&self.0);
        let (second, count) = kept.second;
        kept.second = if second == at.as_second() { (second, count.saturating_add(1)) } else { (at.as_second(), 1) };
        if kept.second.1 > MAX_EACH_SECOND {
            kept.lost = Some(at);
            return;
        }
        kept.observations.push_back(observation);
        if kept.observations.len() > MAX_KEPT
            && let Some(oldest) = kept.observations.pop_front()
            // What is so old was told of long ago, or led to no change.
            && at.duration_since(oldest.at) < LOSS_SAID
        {
            kept.lost = Some(at);
        }
    }

    /// Whether the API server asks, from now on.
    pub(super) fn asked(&self, asked: Result<Timestamp, String>) {
        let mut kept = lock(&self.0);
        match (asked, &kept.asked) {
            // It goes on.
            (Ok(_), Asked::Since(_)) => {}
            (Ok(now), Asked::Not(_)) => kept.asked = Asked::Since(now),
            (Err(why), _) => kept.asked = Asked::Not(why),
        }
    }

    /// Whether the API server asks.
    pub(crate) fn is_asked(&self) -> Asked {
        lock(&self.0).asked.clone()
    }

    /// Who did this. What answers is used up: the same content a second time is somebody else's, or the same one's again.
    pub(crate) fn who(&self, changed: Changed<'_>, now: Timestamp) -> Observed {
        let mut kept = lock(&self.0);
        let mut found = kept.take(|subject, _| match changed {
            Changed::To { uid, content, .. } => subject.content == Some(content) && subject.uid == uid,
            Changed::Gone { uid } => !subject.is_labelled && subject.uid == uid,
        });
        if let (true, Changed::To { uid, replicas: Some(replicas), .. }) = (found.is_empty(), changed) {
            // A Scale has no content to compare.
            found = kept.take(|subject, _| subject.replicas == Some(replicas) && subject.uid == uid);
        }
        let actors = actors(&found);
        let gap = if let (Changed::Gone { .. }, true) = (changed, stripped(&found)) {
            Some("what was done to it without the label is not observed".to_owned())
        } else {
            actors.is_empty().then(|| kept.gap(now))
        };
        Observed { actors, gap }
    }
}

fn stripped(found: &[Observation]) -> bool {
    found.iter().any(|observation| observation.operation == Operation::Update)
}

impl Kept {
    fn take(&mut self, is_it: impl Fn(&Subject, Operation) -> bool) -> Vec<Observation> {
        let mut found = Vec::new();
        if self.observations.iter().any(|one| is_it(&one.subject, one.operation)) {
            self.observations.retain(|one| {
                let is_it = is_it(&one.subject, one.operation);
                if is_it {
                    found.push(one.clone());
                }
                !is_it
            });
        }
        found
    }

    fn gap(&self, now: Timestamp) -> String {
        match &self.asked {
            Asked::Not(why) => format!("not observed: {why}"),
            Asked::Since(_) if self.lost.is_some_and(|lost| now.duration_since(lost) < LOSS_SAID) => {
                "not observed: there were more changes at once than are kept".to_owned()
            }
            Asked::Since(since) => {
                format!("not observed: no change that the API server told of since {since:.0} came to this")
            }
        }
    }
}

/// Each user once, the newest first.
fn actors(found: &[Observation]) -> Vec<Actor> {
    let mut actors: Vec<Actor> = Vec::new();
    for one in found.iter().rev() {
        if actors.len() == MAX_ACTORS || actors.iter().any(|actor| actor.name == one.name) {
            continue;
        }
        actors.push(Actor {
            groups: one.groups.clone(),
            operation: Some(one.operation.name().to_owned()),
            subresource: one.subresource.clone(),
            at: Some(one.at),
            ..Actor::new(Level::Observed, Confidence::Sure, &one.name)
        });
    }
    if actors.len() > 1 {
        actors.iter_mut().for_each(|actor| actor.confidence = Confidence::OneOf);
    }
    actors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn user(name: &str) -> UserInfo {
        UserInfo { username: name.to_owned(), uid: String::new(), groups: vec!["dev".to_owned(); MAX_ACTOR_GROUPS + 1] }
    }

    fn subject(content: Option<u128>, is_labelled: bool) -> Subject {
        Subject { uid: "u".to_owned(), content, is_labelled, replicas: None }
    }

    fn asked() -> Observations {
        let observations = Observations::default();
        observations.asked(Ok(at(0)));
        observations
    }

    const fn to(content: u128) -> Changed<'static> {
        Changed::To { uid: "u", content, replicas: Some(7) }
    }

    fn names(observed: &Observed) -> Vec<&str> {
        observed.actors.iter().map(|actor| actor.name.as_str()).collect()
    }

    #[test]
    fn two_admissions_of_one_content_are_one_of() {
        let observations = asked();
        for name in ["ana", "ben", "ana"] {
            observations.note(subject(Some(1), true), &user(name), (Operation::Update, ""), at(1));
        }
        observations.note(subject(Some(2), true), &user("eva"), (Operation::Update, ""), at(1));
        let both = observations.who(to(1), at(2));
        assert_eq!(names(&both), ["ana", "ben"]);
        assert!(
            both.actors
                .iter()
                .all(|actor| actor.confidence == Confidence::OneOf && actor.groups.len() == MAX_ACTOR_GROUPS)
        );
        let eva = observations.who(to(2), at(2));
        assert_eq!((names(&eva), eva.gap.as_deref()), (vec!["eva"], None));
        // Once is enough.
        assert_eq!(names(&observations.who(to(2), at(2))), [""; 0]);
    }

    #[test]
    fn a_scale_is_joined_by_uid_and_replicas() {
        let observations = asked();
        let scale = Subject { replicas: Some(7), ..subject(None, true) };
        observations.note(scale, &user("ana"), (Operation::Update, "scale"), at(1));
        let other = Changed::To { uid: "u", content: 1, replicas: Some(8) };
        assert_eq!(names(&observations.who(other, at(2))), [""; 0]);
        let found = observations.who(to(1), at(2));
        assert_eq!((names(&found), found.actors[0].subresource.as_deref()), (vec!["ana"], Some("scale")));
    }

    #[test]
    fn a_deletion_and_a_strip_are_joined_by_uid() {
        let observations = asked();
        observations.note(subject(Some(1), true), &user("ana"), (Operation::Update, ""), at(1));
        observations.note(subject(None, false), &user("ben"), (Operation::Delete, ""), at(1));
        let gone = observations.who(Changed::Gone { uid: "u" }, at(2));
        assert_eq!((names(&gone), gone.gap.as_deref()), (vec!["ben"], None));
        observations.note(subject(Some(3), false), &user("eva"), (Operation::Update, ""), at(3));
        let stripped = observations.who(Changed::Gone { uid: "u" }, at(3));
        assert_eq!(names(&stripped), ["eva"]);
        assert!(stripped.gap.unwrap().contains("without the label is not observed"));
    }

    #[test]
    fn a_gap_is_said() {
        let observations = Observations::default();
        assert!(observations.who(to(1), at(0)).gap.unwrap().contains("whether its webhook is there"));
        observations.asked(Ok(at(5)));
        observations.asked(Ok(at(9)));
        assert!(observations.who(to(1), at(10)).gap.unwrap().ends_with("since 2027-01-15T08:00:05Z came to this"));
        observations.asked(Err("404 NotFound".to_owned()));
        assert_eq!(observations.who(to(1), at(11)).gap.unwrap(), "not observed: 404 NotFound");
        observations.asked(Ok(at(20)));
        for n in 0..MAX_EACH_SECOND + 1 {
            observations.note(subject(Some(u128::from(n) + 2), true), &user("a"), (Operation::Update, ""), at(21));
        }
        assert!(observations.who(to(1), at(22)).gap.unwrap().contains("more changes at once"));
        assert!(observations.who(to(1), at(82)).gap.unwrap().contains("since"));
        assert!(lock(&observations.0).observations.len() <= MAX_KEPT);
    }
}
