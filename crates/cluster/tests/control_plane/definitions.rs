//! The CRDs on a real API server: accepted, and refusing by name what is not supported yet.

use serde_json::{Value, json};

use crate::world::plane;

fn trust_root() -> Value {
    json!({
        "repoId": "shop", "ref": "refs/heads/main",
        "introduction": {"commit": "1".repeat(40), "payloadSha256": "0".repeat(64), "signer": format!("SHA256:{}", "A".repeat(43))},
        "rootKeys": {"threshold": 1, "keys": ["ssh-ed25519 AAAA"]},
    })
}

fn git_source() -> Value {
    json!({"url": "https://git.example.org/shop.git", "ref": "refs/heads/main", "trustRootRef": {"name": "shop"}})
}

fn sync() -> Value {
    json!({"sourceRef": {"name": "shop"}, "drift": {"mode": "Revert"}})
}

/// So many windows of a Sync, all the same.
fn windows(count: usize, kind: &str, schedule: &str, duration: &str) -> Value {
    let window = json!({"kind": kind, "schedule": schedule, "duration": duration, "timeZone": "America/Argentina/ComodRivadavia"});
    json!({"windows": vec![window; count]})
}

/// `spec` with one field set, or removed by `null`.
fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(field)
    } else {
        parent.insert(field.to_owned(), value)
    };
    spec
}

/// What the API server says to `spec` with one field set: `None` if it takes it.
fn refusal(kind: &str, spec: Value, pointer: &str, value: Value) -> Option<String> {
    let said = dry_run(kind, &with(spec, pointer, value)).err().map(|error| format!("{error:#}"));
    // Anything but an answer of the API server says nothing about the schema.
    assert!(said.as_ref().is_none_or(|said| said.contains("is invalid")), "{said:?}");
    said
}

fn dry_run(kind: &str, spec: &Value) -> anyhow::Result<String> {
    let object = json!({
        "apiVersion": "writ.dev/v1alpha1", "kind": kind,
        "metadata": {"name": "check", "namespace": if kind == "TrustRoot" { Value::Null } else { "default".into() }},
        "spec": spec,
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), object.to_string())?;
    let file = file.path().display().to_string();
    plane().kubectl(&["create", "--dry-run=server", "-f", &file])
}

#[track_caller]
fn check(kind: &str, spec: &Value, pointer: &str, value: Value, expected: &str) {
    let said = refusal(kind, spec.clone(), pointer, value).unwrap_or_else(|| panic!("{kind} {pointer} was accepted"));
    assert!(said.contains(expected), "{kind} {pointer}: {said}");
}

#[test]
fn supported_specs_are_accepted() {
    assert_eq!(refusal("TrustRoot", trust_root(), "/orders", json!("Cluster")), None);
    assert_eq!(refusal("TrustRoot", trust_root(), "/mode", json!("Audit")), None);
    assert_eq!(refusal("TrustRoot", trust_root(), "/limits", json!({"changedPaths": 100})), None);
    assert_eq!(refusal("TrustRoot", trust_root(), "/minPolicyVersion", json!(3)), None);
    assert_eq!(refusal("GitSource", git_source(), "/suspend", json!(true)), None);
    assert_eq!(refusal("GitSource", git_source(), "/secretRef", json!({"name": "git"})), None);
    assert_eq!(refusal("Sync", sync(), "/path", json!("apps/web")), None);
    assert_eq!(refusal("Sync", sync(), "/wait", json!(false)), None);
    assert_eq!(refusal("Sync", sync(), "/timeout", json!("1m30s")), None);
    assert_eq!(refusal("Sync", sync(), "/advance", json!({"mode": "Auto"})), None);
    assert_eq!(refusal("Sync", sync(), "/advance", windows(32, "Deny", "0 18 * * fri", "62h")), None);
    assert_eq!(refusal("Sync", sync(), "/advance", json!({"windows": []})), None);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (kind, spec, pointer, value, name) in [
        ("TrustRoot", trust_root(), "/limits", json!({"steps": 5}), "spec.limits.steps"),
        ("GitSource", git_source(), "/policyFrom", json!([{"name": "other"}]), "spec.policyFrom"),
        ("GitSource", git_source(), "/allowedNamespaces", json!(["a"]), "spec.allowedNamespaces"),
        ("Sync", sync(), "/wait", json!(true), "spec.wait"),
        ("Sync", sync(), "/dependsOn", json!([{"name": "base"}]), "spec.dependsOn"),
        ("Sync", sync(), "/healthChecks", json!([]), "spec.healthChecks"),
        ("Sync", sync(), "/advance", json!({"mode": "Manual"}), "spec.advance.mode: Manual"),
        ("Sync", sync(), "/drift/windows", json!([]), "spec.drift.windows"),
        ("Sync", sync(), "/drift/rules", json!([]), "spec.drift.rules"),
        ("Sync", sync(), "/drift/ignore", json!([]), "spec.drift.ignore"),
    ] {
        check(kind, &spec, pointer, value, &format!("{name} is not supported yet"));
    }
    let spec = json!({"sync": "web", "until": "2030-01-01T00:00:00Z"});
    check("PauseRequest", &spec, "/reason", json!("because"), "PauseRequest is not supported yet");
    let spec = json!({"sync": "web", "drift": "d1", "action": "Revert"});
    check("DriftRequest", &spec, "/reason", json!("because"), "DriftRequest is not supported yet");
}

/// What the schema leaves to writ is in `plan`: whether a schedule is one, and how long a duration.
#[test]
fn windows_have_bounds() {
    for (count, kind, schedule, duration, name) in [
        (33, "Allow", "0 0 * * *", "1h", "spec.advance.windows: Too many"),
        (1, "Maybe", "0 0 * * *", "1h", "spec.advance.windows[0].kind"),
        (1, "Allow", &"0,".repeat(70), "1h", "spec.advance.windows[0].schedule"),
        (1, "Allow", "0 0 * * *", "1d", "spec.advance.windows[0].duration"),
        (1, "Allow", "0 0 * * *", "", "spec.advance.windows[0].duration"),
    ] {
        check("Sync", &sync(), "/advance", windows(count, kind, schedule, duration), name);
    }
}

#[test]
fn what_was_signed_cannot_be_changed() {
    let signatures = json!([{"principal": "alice", "signature": "x"}]);
    let spec = json!({
        "repoId": "urn:writ:test", "sync": "web", "to": "1".repeat(40), "payloadSha256": "2".repeat(64), "reason": "because",
        "notAfter": "2030-01-01T00:00:00Z", "nonce": "n1", "signatures": signatures,
    });
    assert_eq!(refusal("RollbackRequest", spec.clone(), "/nonce", json!("n2")), None);
    check("RollbackRequest", &spec, "/nonce", Value::Null, "nonce");
    check("RollbackRequest", &spec, "/notAfter", json!("tomorrow"), "notAfter");
    check("RollbackRequest", &spec, "/to", json!("main"), "spec.to");
}

/// However many there are, and however long each.
#[test]
fn orders_of_any_size_are_refused() {
    let signatures = |count: usize, length: usize| {
        (0..count).map(|_| json!({"principal": "alice", "signature": "x".repeat(length)})).collect::<Value>()
    };
    let rollback = json!({
        "repoId": "urn:writ:test", "sync": "web", "to": "1".repeat(40), "payloadSha256": "2".repeat(64), "reason": "because",
        "notAfter": "2030-01-01T00:00:00Z", "nonce": "n1",
    });
    let break_glass = json!({
        "repoId": "urn:writ:test", "source": "config", "commit": "1".repeat(40), "payloadSha256": "2".repeat(64),
        "reason": "because", "notAfter": "2030-01-01T00:00:00Z",
    });
    for (kind, spec) in [("RollbackRequest", rollback), ("BreakGlass", break_glass)] {
        assert_eq!(refusal(kind, spec.clone(), "/signatures", signatures(16, 8 << 10)), None);
        assert_eq!(refusal(kind, spec.clone(), "/signatures", signatures(2, 48 << 10)), None);
        check(kind, &spec, "/signatures", signatures(16, (8 << 10) + 1), "spec.signatures has more than 131072");
        check(kind, &spec, "/signatures", signatures(3, 48 << 10), "spec.signatures has more than 131072");
        check(kind, &spec, "/signatures", signatures(17, 1), "spec.signatures");
    }
}

#[test]
fn what_is_missing_or_malformed_is_refused() {
    check("Sync", &sync(), "/drift/mode", Value::Null, "mode");
    check("Sync", &sync(), "/sourceRef", Value::Null, "sourceRef");
    check("Sync", &sync(), "/path", json!("/etc"), "spec.path");
    check("Sync", &sync(), "/pruneLimit", json!(101), "spec.pruneLimit");
    check("Sync", &sync(), "/targetNamespace", json!("Shop"), "spec.targetNamespace");
    check("GitSource", &git_source(), "/url", json!("https://user:pass@host/x.git"), "spec.url");
    check("GitSource", &git_source(), "/url", json!("http://host/x.git"), "spec.url");
    check("GitSource", &git_source(), "/interval", json!("soon"), "spec.interval");
    check("TrustRoot", &trust_root(), "/introduction/commit", json!("abc"), "spec.introduction.commit");
    check("TrustRoot", &trust_root(), "/rootKeys/threshold", json!(2), "spec.rootKeys.threshold");
    check("TrustRoot", &trust_root(), "/rootKeys", Value::Null, "rootKeys");
}

#[test]
fn short_names_and_the_category_are_served() {
    let resources =
        plane().kubectl(&["api-resources", "--api-group=writ.dev", "--categories=writ", "--no-headers"]).unwrap();
    for name in ["troot", "gsrc", "wsync", "pausereq", "rbreq", "bglass"] {
        assert!(resources.contains(name), "{name} in {resources}");
    }
}
