//! What is known of the cluster when a decision is made.

use manifest::{Digest, ObjectRef};

use crate::{FieldDiff, SyncRef};

/// What is known of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live<'a> {
    /// Its kind is not watched yet: nothing is known.
    Unobserved,
    /// The cluster does not serve its kind, and that is certain: no object of it can be there.
    Unserved,
    /// Its kind is watched and the object is not there, or no longer carries our label.
    Absent,
    /// It is there.
    Present(Presence<'a>),
}

/// An object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// The version it was last seen at.
    pub resource_version: &'a str,
    /// Digest of the body that was last applied to it, if we know that we did.
    pub applied: Option<Digest>,
    /// Who applied it, as its `managedFields` say.
    pub manager: Manager,
    /// Whether it, or its namespace, is being deleted.
    pub lifecycle: Lifecycle,
    /// Declared fields that differ from the declaration; empty: as declared.
    pub drift: &'a [FieldDiff],
    /// Where the differences were seen.
    pub seen: DriftSeen,
}

/// Whether `managedFields` has an apply entry of writ. It can be forged: it is believed only of an object
/// that the log says we were about to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manager {
    /// It has.
    Writ,
    /// It has not.
    Others,
}

/// Where differences were seen: it says who is behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftSeen {
    /// In an event, after an answer that was as declared: somebody changed the object.
    Event,
    /// In the answer to our own write: something rewrites it on its way in, or drops the field.
    Answer,
    /// In an object with another UID than the one we applied to.
    Replacement,
}

/// Whether an object is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifecycle {
    /// It lives.
    Stable,
    /// It has a deletion time: it waits for finalizers. An apply would be accepted and lost.
    Terminating,
}

/// Facts about live objects, looked up by identity.
pub trait LiveStates {
    /// What is known of `reference`.
    fn live(&self, reference: &ObjectRef) -> Live<'_>;

    /// Whether a write of ours to `reference` is under way: what is known of it is about to change.
    fn is_written(&self, reference: &ObjectRef) -> bool;

    /// Whether we know of an apply of ours to `reference`, whatever became of it since.
    fn was_applied(&self, reference: &ObjectRef) -> bool;
}

/// Facts about which Sync owns which object.
pub trait Claims {
    /// The Sync that owns `reference`, if one does.
    fn owner(&self, reference: &ObjectRef) -> Option<&SyncRef>;
}
