//! The prune guard: a commit that deletes much must say so.

use manifest::{Finding, GroupKind, ObjectRef, Subject, counted};

use crate::{PlanCode, SyncRef, SyncSpec};

/// This many objects may always be pruned: small Syncs change shape without ceremony.
pub const PRUNE_ALWAYS_ALLOWED: usize = 10;

/// What the commits of an advance say about pruning: the sum is not taken, the newest commit's
/// trailer `Writ-Prune: <count>` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneTrailer(pub Option<u64>);

/// Checks a change set that prunes `candidates` of `applied` objects.
pub(crate) fn check<'a>(
    sync: &SyncRef,
    spec: &SyncSpec,
    applied: usize,
    candidates: impl ExactSizeIterator<Item = &'a ObjectRef>,
    trailer: PruneTrailer,
) -> Option<Finding> {
    let count = candidates.len();
    if count == 0 || trailer.0 == Some(count as u64) {
        return None;
    }
    let protected = candidates.filter(|reference| is_protected(&reference.group_kind)).map(ToString::to_string).next();
    // Rounded up: 30 % of 34 objects is 11, not 10.
    let limit = (applied * usize::from(spec.prune_limit)).div_ceil(100).max(PRUNE_ALWAYS_ALLOWED);
    let found = if count >= applied {
        match count {
            1 => "the commit prunes the only object".to_owned(),
            _ => format!("the commit prunes all {count} objects"),
        }
    } else if let Some(object) = protected {
        format!("the commit prunes {object} ({count} of {} in all)", counted(applied, "object"))
    } else if count > limit {
        format!(
            "the commit prunes {count} of {applied} objects; {limit} are allowed (pruneLimit {} %)",
            spec.prune_limit
        )
    } else {
        return None;
    };
    let said = trailer.0.map_or_else(String::new, |said| format!("; its trailer says {said}"));
    Some(Finding {
        code: PlanCode::A120.entry(),
        subject: Subject::Named(format!("Sync {sync}")),
        rule: Some("pruneLimit".to_owned()),
        found: format!("{found}{said}").into(),
        needed: format!("the trailer `Writ-Prune: {count}` in the commit message").into(),
        fix: format!(
            "git commit --allow-empty --gpg-sign -m 'Prune {}' --trailer 'Writ-Prune: {count}' # or restore the files",
            counted(count, "object")
        )
        .into(),
    })
}

fn is_protected(kind: &GroupKind) -> bool {
    matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("", "Namespace" | "PersistentVolume" | "PersistentVolumeClaim")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::ClusterId;

    fn guard(applied: usize, kinds: &[&str], trailer: Option<u64>) -> Option<String> {
        held(applied, kinds, trailer).map(|finding| finding.found.into())
    }

    fn held(applied: usize, kinds: &[&str], trailer: Option<u64>) -> Option<Finding> {
        let sync = SyncRef { namespace: "shop".into(), name: "web".into() };
        let spec: SyncSpec = serde_json::from_str(r#"{"sourceRef":{"name":"a"},"drift":{"mode":"Revert"}}"#).unwrap();
        let references: Vec<ObjectRef> = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| ObjectRef {
                cluster: ClusterId::new("c"),
                group_kind: GroupKind::new("", kind),
                namespace: Some("shop".into()),
                name: format!("o{index}"),
            })
            .collect();
        check(&sync, &spec, applied, references.iter(), PruneTrailer(trailer))
    }

    /// As a shell takes it, signed in the format that is accepted.
    #[test]
    fn the_fix_can_be_pasted() {
        assert_eq!(
            held(2, &["ConfigMap"; 2], None).unwrap().fix,
            format!(
                "git commit --allow-empty --gpg-sign -m 'Prune 2 objects' --trailer 'Writ-Prune: 2' # or restore the files"
            )
        );
    }

    #[test]
    fn a_few_of_many_pass() {
        assert_eq!(guard(20, &["ConfigMap"; 10], None), None);
        assert_eq!(guard(100, &["ConfigMap"; 30], None), None);
        assert_eq!(guard(5, &[], None), None);
    }

    #[test]
    fn too_many_everything_and_protected_kinds_are_held() {
        assert_eq!(
            guard(100, &["ConfigMap"; 31], None).unwrap(),
            "the commit prunes 31 of 100 objects; 30 are allowed (pruneLimit 30 %)"
        );
        assert_eq!(guard(1, &["ConfigMap"], None).unwrap(), "the commit prunes the only object");
        assert!(guard(100, &["PersistentVolumeClaim"], None).unwrap().contains("PersistentVolumeClaim shop/o0"));
    }

    #[test]
    fn only_the_exact_count_lifts_the_guard() {
        assert_eq!(guard(1, &["ConfigMap"], Some(1)), None);
        assert_eq!(
            guard(2, &["ConfigMap"; 2], Some(1)).unwrap(),
            "the commit prunes all 2 objects; its trailer says 1"
        );
    }
}
