//! Rules that every plan obeys, whatever made it.

use std::collections::BTreeSet;

use crate::{Action, ApprovedPlan, PlanOrigin};

/// The rules that `plan` breaks; empty for every plan that [`decide`](crate::decide) gives.
#[must_use]
pub fn lint(plan: &ApprovedPlan) -> Vec<String> {
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    if !plan.changes.is_sorted_by_key(|change| (change.wave, &change.reference)) {
        broken.push("changes are not ordered by wave and identity".to_owned());
    }
    for change in &plan.changes {
        let object = &change.reference;
        let mut rule = |holds: bool, text: &str| {
            if !holds {
                broken.push(format!("{object}: {text}"));
            }
        };
        rule(seen.insert(object), "is changed twice");
        let prune = matches!(change.action, Action::Prune { .. });
        rule(prune == change.wave.is_delete(), "its wave does not fit its action");
        rule(prune != change.body.is_some(), "an apply has a body, a deletion has none");
        rule(
            object.group_kind.kind != "TrustRoot" || object.group_kind.group != "writ.dev",
            "a TrustRoot is never applied",
        );
        match (&change.action, plan.origin) {
            // An accepted object that its roll-out did not bring is created while its successor is held.
            (Action::Revert | Action::Create { .. }, PlanOrigin::Drift)
            | (Action::Prune { .. }, PlanOrigin::Removal)
            | (_, PlanOrigin::Advance | PlanOrigin::Rollback) => {}
            _ => rule(false, "its action does not fit the origin of the plan"),
        }
        if let Action::Prune { uid, resource_version } = &change.action {
            rule(!uid.is_empty() && !resource_version.is_empty(), "a deletion needs uid and resourceVersion");
        }
    }
    broken
}
