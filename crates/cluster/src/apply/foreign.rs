//! Objects that another ApplySet owns are never taken. A conflict would show most of them, but not
//! those of another writ (same field manager) and not under `writ.dev/adopt: force`; so they are
//! looked for before the first write: one list of metadata per kind and namespace, which is empty
//! as a rule.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream::FuturesUnordered};
use manifest::ObjectRef;
use plan::{Action, Change, PART_OF_LABEL};

use super::{Failure, change::Context};
use crate::{Resource, explain, read::metadata, request::encode};

/// The changes that may not be made: what they would create belongs to somebody else, or it cannot
/// be known whether it does.
pub(super) async fn find(
    context: &Context<'_>,
    changes: &[Change],
    resources: &BTreeMap<ObjectRef, Resource>,
) -> BTreeMap<ObjectRef, Failure> {
    let mut places: BTreeMap<(&Resource, Option<&str>), Vec<&Change>> = BTreeMap::new();
    for change in changes.iter().filter(|change| matches!(change.action, Action::Create { .. })) {
        if let Some(resource) = resources.get(&change.reference) {
            places.entry((resource, change.reference.namespace.as_deref())).or_default().push(change);
        }
    }
    let ours = context.part_of.as_str();
    let selector = format!("labelSelector={}", encode(&format!("{PART_OF_LABEL},{PART_OF_LABEL}!={ours}")));
    let selector = &selector;
    // One list of metadata for each kind and namespace: at most a few dozen.
    let mut answers = FuturesUnordered::new();
    for ((resource, namespace), changes) in places {
        answers
            .push(async move { (metadata(context.cluster, resource, namespace, selector).await, resource, changes) });
    }
    let mut refused = BTreeMap::new();
    while let Some((answer, resource, changes)) = answers.next().await {
        match answer {
            Ok(foreign) => {
                let owners: BTreeMap<&ObjectRef, Option<&str>> =
                    foreign.iter().map(|seen| (&seen.reference, seen.part_of.as_deref())).collect();
                for change in changes {
                    if let Some(owner) = owners.get(&change.reference) {
                        refused.insert(
                            change.reference.clone(),
                            explain::foreign(&change.reference, owner.unwrap_or_default()),
                        );
                    }
                }
            }
            // The definition comes with this very plan.
            Err(error) if error.status() == Some(404) => {}
            Err(error) => {
                for change in changes {
                    let failure = context.failed(&error, change, resource, &crate::Identity::Own).await;
                    refused.insert(change.reference.clone(), failure);
                }
            }
        }
    }
    refused
}

/// The kinds and namespaces that a plan writes to, for the inventory.
pub(super) fn places(changes: &[Change]) -> (BTreeSet<manifest::GroupKind>, BTreeSet<String>) {
    let written = changes.iter().filter(|change| change.body.is_some());
    written.fold((BTreeSet::new(), BTreeSet::new()), |(mut kinds, mut namespaces), change| {
        kinds.insert(change.reference.group_kind.clone());
        namespaces.extend(change.reference.namespace.clone());
        (kinds, namespaces)
    })
}
