use super::*;

fn spec_of(kind: &str) -> Value {
    let crds = crds();
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

fn check_fields(kind: &str, fields: &[&str]) {
    let spec = spec_of(kind);
    let mut found: Vec<_> = spec["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = fields.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{kind}");
}

#[test]
fn every_field_of_the_design_is_in_the_schema() {
    check_fields(
        "TrustRoot",
        &[
            "repoId",
            "ref",
            "introduction",
            "rootKeys",
            "minPolicyVersion",
            "mode",
            "limits",
            "resumeFrom",
            "orders",
            "bootstrap",
            // Beyond the design: the trust root of keyless signatures, and how old what is shown may be.
            "keyless",
            "freshness",
        ],
    );
    check_fields(
        "GitSource",
        &["url", "ref", "interval", "secretRef", "trustRootRef", "policyFrom", "allowedNamespaces", "suspend"],
    );
    check_fields(
        "Sync",
        &[
            "sourceRef",
            "path",
            "targetNamespace",
            "serviceAccountName",
            "prune",
            "pruneLimit",
            "deletionPolicy",
            "wait",
            "timeout",
            "dependsOn",
            "healthChecks",
            "advance",
            "drift",
        ],
    );
}

#[test]
fn every_keyword_lands_on_a_property_that_exists() {
    for (kind, extra) in [("TrustRoot", &TRUST_ROOT), ("GitSource", &GIT_SOURCE), ("Sync", &SYNC)] {
        let spec = spec_of(kind);
        for (pointer, keyword, value) in extra.keywords {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(spec.pointer(&format!("/properties{pointer}/{keyword}")), Some(&value), "{kind} {pointer}");
        }
    }
}

#[test]
fn defaults_and_required_fields_are_those_of_the_type() {
    let sync = spec_of("Sync");
    assert_eq!(sync["properties"]["prune"]["default"], true);
    assert_eq!(sync["properties"]["pruneLimit"]["default"], 30);
    assert_eq!(sync["properties"]["deletionPolicy"]["enum"], json!(["Orphan", "Delete"]));
    assert_eq!(sync["required"], json!(["drift", "sourceRef"]));
    assert_eq!(sync["properties"]["drift"]["required"], json!(["mode"]));
    assert_eq!(spec_of("GitSource")["properties"]["interval"]["default"], "1m");
}

#[test]
fn a_sync_is_an_applyset_parent() {
    let crds = crds();
    let sync = crds.iter().find(|crd| crd["metadata"]["name"] == "syncs.writ.dev").unwrap();
    assert_eq!(sync["metadata"]["labels"]["applyset.kubernetes.io/is-parent-type"], "true");
}

#[test]
fn the_schema_has_nothing_structural_schemas_lack() {
    let text = serde_json::to_string(&crds()).unwrap();
    for keyword in
        ["nullable", "$ref", "\"anyOf\"", "\"oneOf\"", "uint", "\"additionalProperties\":false", "\"default\":null"]
    {
        assert!(!text.contains(keyword), "{keyword}");
    }
}
