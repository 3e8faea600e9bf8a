//! Who binds volumes to claims.

use serde_json::Value;

use super::{
    Mutator, Site,
    shape::{is_name, is_uid},
};

pub(super) const LINES: &[Mutator] = &[
    Mutator {
        name: "volume-binding",
        since: 1,
        reason: "the volume controllers bind claims to volumes, note who made them, and hold both in use",
        explains: binding,
    },
    Mutator {
        name: "default-storage-class",
        since: 1,
        reason: "a claim that names no class gets the default class of the cluster",
        explains: default_class,
    },
];

fn binding(site: &Site<'_>) -> bool {
    if site.is_of("", "PersistentVolumeClaim") {
        return match site.added_annotation() {
            Some(("pv.kubernetes.io/bind-completed" | "pv.kubernetes.io/bound-by-controller", text)) => text == "yes",
            Some((
                "volume.kubernetes.io/storage-provisioner"
                | "volume.beta.kubernetes.io/storage-provisioner"
                | "volume.kubernetes.io/selected-node",
                text,
            )) => is_driver(text),
            Some(_) => false,
            None if site.names == ["spec", "volumeName"] => site.filled().and_then(Value::as_str).is_some_and(is_name),
            None => site.adds_finalizer("kubernetes.io/pvc-protection"),
        };
    }
    site.is_of("", "PersistentVolume")
        && match site.added_annotation() {
            Some(("pv.kubernetes.io/bound-by-controller", text)) => text == "yes",
            Some(("pv.kubernetes.io/provisioned-by", text)) => is_driver(text),
            Some(_) => false,
            None => claim_ref(site) || site.adds_finalizer("kubernetes.io/pv-protection"),
        }
}

/// The claim, where none is declared; what is missing of it, where it is declared by its name.
fn claim_ref(site: &Site<'_>) -> bool {
    let (["spec", "claimRef", field], Some(live)) = (site.names, site.filled().and_then(Value::as_str)) else {
        return false;
    };
    match *field {
        "apiVersion" => live == "v1",
        "kind" => live == "PersistentVolumeClaim",
        "name" | "namespace" => is_name(live),
        "uid" => is_uid(live),
        "resourceVersion" => !live.is_empty() && live.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    }
}

/// The name of a node, or of a driver, which may have a path.
fn is_driver(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(|part| is_name(&part.to_ascii_lowercase()))
}

/// Absent and empty are not the same here: `""` asks for a volume without a class.
fn default_class(site: &Site<'_>) -> bool {
    site.is_of("", "PersistentVolumeClaim")
        && site.names == ["spec", "storageClassName"]
        && site.added().and_then(Value::as_str).is_some_and(is_name)
}

#[cfg(test)]
#[path = "storage_tests.rs"]
pub(super) mod tests;
