use serde_json::{Value, json};

use super::super::fixture::{Fixture, check, of};

const UID: &str = "0b3c6a57-4c4f-4b5e-9d55-0a1b2c3d4e5f";

fn object(line: &'static str, kind: &str, spec: &Value) -> Fixture {
    of(line, json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "data"}, "spec": spec}))
}

fn claims() -> Vec<Fixture> {
    let line = |kind| object("volume-binding", kind, &json!({}));
    let annotation = |key| ["metadata", "annotations", key];
    let finalizers = &["metadata", "finalizers"];
    vec![
        line("PersistentVolumeClaim")
            .explains(&["spec", "volumeName"], "pvc-0b3c6a57")
            .explains_edit(&["spec", "volumeName"], "", "pvc-0b3c6a57")
            .explains(&annotation("pv.kubernetes.io/bind-completed"), "yes")
            .explains(&annotation("pv.kubernetes.io/bound-by-controller"), "yes")
            .explains(&annotation("volume.kubernetes.io/storage-provisioner"), "ebs.csi.aws.com")
            .explains(&annotation("volume.beta.kubernetes.io/storage-provisioner"), "kubernetes.io/aws-ebs")
            .explains(&annotation("volume.kubernetes.io/selected-node"), "node-1")
            .explains(finalizers, "kubernetes.io/pvc-protection")
            .misses_edit(&["spec", "volumeName"], "pv-1", "pv-2")
            .misses(&["spec", "volumeName"], "")
            .misses(&annotation("pv.kubernetes.io/bind-completed"), "no")
            .misses(&annotation("volume.kubernetes.io/selected-node"), "a b")
            .misses(&annotation("pv.kubernetes.io/provisioned-by"), "ebs.csi.aws.com")
            .misses(&annotation("volume.kubernetes.io/storage-provisioner"), "kubernetes.io/")
            .misses(finalizers, "kubernetes.io/pv-protection")
            .misses_edit(&["spec", "resources", "requests", "storage"], "1Gi", "2Gi")
            .misses(&["spec", "dataSource", "name"], "other"),
        line("ConfigMap").misses(&annotation("pv.kubernetes.io/bind-completed"), "yes"),
    ]
}

fn volumes() -> Vec<Fixture> {
    let line = |kind| object("volume-binding", kind, &json!({}));
    let annotation = |key| ["metadata", "annotations", key];
    let claim = |field| ["spec", "claimRef", field];
    vec![
        line("PersistentVolume")
            .explains(&claim("apiVersion"), "v1")
            .explains(&claim("kind"), "PersistentVolumeClaim")
            .explains(&claim("name"), "data")
            .explains(&claim("namespace"), "shop")
            .explains(&claim("uid"), UID)
            .explains(&claim("resourceVersion"), "123")
            .explains(&annotation("pv.kubernetes.io/bound-by-controller"), "yes")
            .explains(&annotation("pv.kubernetes.io/provisioned-by"), "ebs.csi.aws.com")
            .explains(&["metadata", "finalizers"], "kubernetes.io/pv-protection")
            .misses_edit(&claim("namespace"), "shop", "bank")
            .misses(&claim("kind"), "Secret")
            .misses(&claim("uid"), "mine")
            .misses(&claim("uid"), UID.replace('-', "_"))
            .misses(&claim("uid"), format!("{UID}0"))
            .misses(&claim("resourceVersion"), "12x")
            .misses(&claim("name"), "x".repeat(254))
            .explains(&claim("name"), "x".repeat(253))
            .misses(&claim("fieldPath"), "spec")
            .misses(&annotation("pv.kubernetes.io/bind-completed"), "yes")
            .misses(&["metadata", "finalizers"], "kubernetes.io/pvc-protection")
            .misses(&["spec", "hostPath", "path"], "/"),
        line("ConfigMap").misses(&claim("name"), "data"),
    ]
}

fn classes() -> Vec<Fixture> {
    let line = |kind| object("default-storage-class", kind, &json!({}));
    let class = &["spec", "storageClassName"];
    vec![
        line("PersistentVolumeClaim")
            .explains(class, "standard")
            .misses_edit(class, "", "standard")
            .misses_edit(class, "fast", "standard")
            .misses(class, "")
            .misses(&["spec", "volumeAttributesClassName"], "standard"),
        line("PersistentVolume").misses(class, "standard"),
    ]
}

pub(in super::super) fn fixtures() -> Vec<Fixture> {
    [claims(), volumes(), classes()].into_iter().flatten().collect()
}

#[test]
fn claims_and_volumes_are_bound_to_each_other() {
    check(&fixtures());
}
