//! The known mutators: who changes fields of objects in the course of ordinary operation, and which. What a line explains is
//! no drift.
//!
//! A line goes by the kind, the path, the values, and what the accepted commit declares beside the object. It never goes by
//! managedFields: whoever edits an object chooses the name that stands there.

mod autoscaling;
mod certificates;
mod cluster;
#[cfg(test)]
mod fixture;
mod pods;
mod rollouts;
mod services;
mod shape;
mod storage;

use manifest::GroupKind;
use serde_json::Value;

/// The version of the catalogue: it changes with every line that is added, removed, or explains more or less than before.
pub const CATALOGUE_VERSION: u32 = 1;

/// One difference between what is declared and what is live.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The kind of the object.
    pub kind: &'a GroupKind,
    /// The names on the way to the field; list items have none.
    pub names: &'a [&'a str],
    /// The value that is declared, if one is.
    pub desired: Option<&'a Value>,
    /// The value that is live, if there is one.
    pub live: Option<&'a Value>,
    /// The whole object as it is declared.
    pub declared: &'a Value,
    /// What the accepted commit declares beside it.
    pub set: &'a dyn DeclaredSet,
}

/// What one accepted commit declares.
pub trait DeclaredSet: std::fmt::Debug {
    /// The objects of a kind in a namespace (`None`: of the cluster), as they are declared.
    fn of_kind(&self, kind: &GroupKind, namespace: Option<&str>) -> Vec<&Value>;
}

/// Nothing is declared beside the object.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl DeclaredSet for Alone {
    fn of_kind(&self, _kind: &GroupKind, _namespace: Option<&str>) -> Vec<&Value> {
        Vec::new()
    }
}

/// A known mutator.
#[derive(Debug, Clone, Copy)]
pub struct Mutator {
    /// What it is called in verdicts.
    pub name: &'static str,
    /// The version of the catalogue that it came with.
    pub since: u32,
    /// What it does, and why that is no drift.
    pub reason: &'static str,
    explains: fn(&Site<'_>) -> bool,
}

/// All lines, in the order in which they are asked.
pub fn catalogue() -> impl Iterator<Item = &'static Mutator> {
    [
        autoscaling::LINES,
        certificates::LINES,
        cluster::LINES,
        pods::LINES,
        rollouts::LINES,
        services::LINES,
        storage::LINES,
    ]
    .into_iter()
    .flatten()
}

/// The first line that explains a difference.
#[must_use]
pub fn explanation(site: &Site<'_>) -> Option<&'static Mutator> {
    catalogue().find(|mutator| (mutator.explains)(site))
}
