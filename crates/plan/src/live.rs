//! What is known of the cluster when a decision is made.

use manifest::{Digest, ObjectRef};

use crate::{FieldDiff, SyncRef};

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// Its kind is not watched yet: nothing is known.
    Unobserved,
    /// Its kind is watched and the object is not there, or no longer carries our label.
    Absent,
    /// It is there.
    Present(Presence),
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Its UID.
    pub uid: String,
    /// The version it was last seen at.
    pub resource_version: String,
    /// Digest of the body that was last applied to it, if we know that we did.
    pub applied: Option<Digest>,
    /// Whether it, or its namespace, is being deleted.
    pub lifecycle: Lifecycle,
    /// Declared fields that differ from what that apply made; empty: as expected.
    pub drift: Vec<FieldDiff>,
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
    fn live(&self, reference: &ObjectRef) -> Live;
}

/// Facts about which Sync owns which object.
pub trait Claims {
    /// The Sync that owns `reference`, if one does.
    fn owner(&self, reference: &ObjectRef) -> Option<SyncRef>;
}
