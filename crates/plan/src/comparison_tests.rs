use serde_json::json;

use super::*;
use crate::catalogue::Alone;

fn of(kind: (&str, &str), declared: &Value, live: &Value) -> Comparison {
    let kind = GroupKind::new(kind.0, kind.1);
    compare(declared, Some(live), &Compared { kind: &kind, visibility: Visibility::Shown, set: &Alone })
}

/// Each change as `kind pointer: desired → live`.
fn lines(found: &Comparison) -> Vec<String> {
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
    let line = |change: &FieldChange| {
        format!("{:?} {}: {} → {}", change.kind, change.pointer, shown(&change.desired), shown(&change.live))
    };
    found.changes.iter().map(line).collect()
}

const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");

#[expect(clippy::needless_pass_by_value, reason = "a fixture is given as it is written")]
fn deployment(pod: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": pod}}})
}

#[test]
fn an_object_as_the_server_stores_it_has_no_changes() {
    let declared =
        deployment(json!({"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}]}));
    let mut live = deployment(json!({
        "containers": [{
            "name": "web", "image": "web:1", "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "imagePullPolicy": "IfNotPresent", "resources": {}, "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File"
        }],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
        "securityContext": {}, "terminationGracePeriodSeconds": 30
    }));
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["managedFields"] = json!([{"manager": "writ"}]);
    live["spec"]["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    live["spec"]["template"]["metadata"] = json!({"creationTimestamp": null});
    live["status"] = json!({"replicas": 3});
    let found = of(DEPLOYMENT, &declared, &live);
    assert_eq!(lines(&found), [] as [&str; 0]);
    assert!(!found.is_drift());
}

#[test]
fn edits_additions_and_removals_are_told_apart_and_point_into_the_live_object() {
    let declared = deployment(json!({"containers": [
        {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    ]}));
    // The intruder's container stands first.
    let live = deployment(json!({"hostPID": true, "containers": [
        {"name": "miner", "image": "evil"},
        {"name": "web", "image": "web:2", "env": [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}],
            "securityContext": {"privileged": true}}
    ]}));
    let found = of(DEPLOYMENT, &declared, &live);
    let at = "/spec/template/spec/containers";
    assert_eq!(
        lines(&found),
        [
            format!(r#"Removed {at}/1/env/1: {{"name":"B","value":"2"}} → -"#),
            format!(r#"Added {at}/1/env/1: - → {{"name":"C","value":"3"}}"#),
            format!(r#"Edited {at}/1/image: "web:1" → "web:2""#),
            format!("Added {at}/1/securityContext/privileged: - → true"),
            format!(r#"Added {at}/0: - → {{"image":"evil","name":"miner"}}"#),
            "Added /spec/template/spec/hostPID: - → true".to_owned(),
        ]
    );
    let classes: Vec<_> = found.changes.iter().map(|change| change.class.name()).collect();
    assert_eq!(classes, ["env", "env", "image", "securityContext", "container", "securityContext"]);
    assert_eq!(found.changes[2].field.to_string(), "spec.template.spec.containers[name=web].image");
    assert!(found.is_drift());
}

#[test]
fn what_is_added_to_a_list_without_merge_keys_is_named_by_itself() {
    let alice = json!({"kind": "User", "name": "alice"});
    let served = json!({"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"});
    let mallory = json!({"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = |subjects: Value| json!({"subjects": subjects});
    let kind = ("rbac.authorization.k8s.io", "RoleBinding");
    let found = of(kind, &binding(json!([alice])), &binding(json!([mallory, served])));
    assert_eq!(lines(&found), [format!("Added /subjects/0: - → {mallory}")]);
    assert_eq!(found.changes[0].class, FieldClass::Rbac);
    let found = of(kind, &binding(json!([alice, mallory])), &binding(json!([served])));
    assert_eq!(lines(&found), [format!("Removed /subjects/1: {mallory} → -")]);
    let found = of(kind, &binding(json!([alice])), &binding(json!([mallory, mallory])));
    assert_eq!(lines(&found).len(), 1);
    assert_eq!(found.changes[0].kind, ChangeKind::Edited);
    // Tolerations that nobody declares are one list, since there is one owner of it.
    let found = of(DEPLOYMENT, &deployment(json!({})), &deployment(json!({"tolerations": [{"operator": "Exists"}]})));
    assert_eq!(lines(&found), [r#"Added /spec/template/spec/tolerations: - → [{"operator":"Exists"}]"#]);
}

#[test]
fn quantities_and_durations_are_compared_by_value() {
    let limits =
        |cpu: &str| deployment(json!({"containers": [{"name": "web", "resources": {"limits": {"cpu": cpu}}}]}));
    assert_eq!(lines(&of(DEPLOYMENT, &limits("0.1"), &limits("100m"))), [] as [&str; 0]);
    assert_eq!(lines(&of(DEPLOYMENT, &limits("0.1"), &limits("101m"))).len(), 1);
    let every = |interval: &str| json!({"spec": {"interval": interval, "size": interval}});
    let source = ("source.toolkit.fluxcd.io", "GitRepository");
    let interval = |text: &str| json!({"spec": {"interval": text, "nested": {"retryInterval": text}}});
    assert_eq!(lines(&of(source, &interval("1h30m"), &interval("90m"))), [] as [&str; 0]);
    assert_eq!(lines(&of(source, &every("10m"), &every("600s"))), [r#"Edited /spec/size: "10m" → "600s""#]);
}

#[test]
fn what_is_declared_as_nothing_excuses_nothing() {
    let declared = deployment(json!({"hostPID": null, "containers": [
        {"name": "web", "image": "web:1", "securityContext": null, "env": null, "command": null}
    ]}));
    let live = deployment(json!({"hostPID": true, "containers": [{"name": "web", "image": "web:1",
        "securityContext": {"privileged": true}, "env": [{"name": "LD_PRELOAD", "value": "x"}], "command": ["sh"]}]}));
    assert_eq!(lines(&of(DEPLOYMENT, &declared, &live)).len(), 4);
    let surplus = crate::surplus(&declared, &live, &GroupKind::new("apps", "Deployment"));
    assert_eq!(surplus.len(), 5, "{surplus:?}");
    // What the server makes of nothing is nothing.
    let served = deployment(
        json!({"dnsPolicy": "ClusterFirst", "containers": [{"name": "web", "image": "web:1", "resources": {}}]}),
    );
    assert_eq!(lines(&of(DEPLOYMENT, &declared, &served)), [] as [&str; 0]);
}

#[test]
fn a_second_item_with_the_keys_of_a_declared_one_is_an_addition() {
    let env = |items: Value| deployment(json!({"containers": [{"name": "web", "env": items}]}));
    let (good, evil) = (json!({"name": "DB", "value": "good"}), json!({"name": "DB", "value": "evil"}));
    let (declared, at) = (env(json!([good])), "/spec/template/spec/containers/0/env");
    let live = env(json!([good, evil]));
    assert_eq!(lines(&of(DEPLOYMENT, &declared, &live)), [format!("Added {at}/1: - → {evil}")]);
    assert_eq!(crate::surplus(&declared, &live, &GroupKind::new("apps", "Deployment")).len(), 2);
    let live = env(json!([evil, good]));
    let found = lines(&of(DEPLOYMENT, &declared, &live));
    assert_eq!(found, [format!(r#"Edited {at}/0/value: "good" → "evil""#), format!("Added {at}/1: - → {good}")]);
}

#[test]
fn a_port_of_the_node_is_a_default_only_in_the_network_of_the_node() {
    let pod = |host_network: bool, port: Value| {
        deployment(json!({"hostNetwork": host_network, "containers": [{"name": "web", "ports": [port]}]}))
    };
    let (declared, live) = (json!({"containerPort": 80}), json!({"containerPort": 80, "hostPort": 80}));
    let found = of(DEPLOYMENT, &pod(false, declared.clone()), &pod(false, live.clone()));
    assert_eq!(lines(&found), ["Added /spec/template/spec/containers/0/ports/0/hostPort: - → 80"]);
    assert_eq!(lines(&of(DEPLOYMENT, &pod(true, declared), &pod(true, live))), [] as [&str; 0]);
}

#[test]
fn pointers_escape_what_json_pointers_are_made_of() {
    let annotated = |value: &str| json!({"metadata": {"annotations": {"a/b~c": value}}});
    let found = of(("", "ConfigMap"), &annotated("1"), &annotated("2"));
    assert_eq!(lines(&found), [r#"Edited /metadata/annotations/a~1b~0c: "1" → "2""#]);
    assert_eq!(annotated("2").pointer(&found.changes[0].pointer), Some(&json!("2")));
}

#[test]
fn values_of_secrets_are_never_shown() {
    let kind = GroupKind::new("", "Secret");
    let secret = |data: Value| json!({"data": data});
    let (declared, live) = (secret(json!({"a": "c2VjcmV0"})), secret(json!({"a": "c3RvbGVu", "b": "bW9yZQ=="})));
    let under = Compared { kind: &kind, visibility: Visibility::Masked, set: &Alone };
    for found in [compare(&declared, Some(&live), &under), compare(&declared, None, &under)] {
        let text = format!("{found:?}");
        assert!(found.is_drift());
        assert!(!text.contains("c2VjcmV0") && !text.contains("c3RvbGVu") && !text.contains("bW9y"), "{text}");
    }
}

#[test]
fn an_object_that_is_gone_is_one_change() {
    let kind = GroupKind::new("", "ConfigMap");
    let declared = json!({"kind": "ConfigMap", "data": {"a": "1"}});
    let found = compare(&declared, None, &Compared { kind: &kind, visibility: Visibility::Shown, set: &Alone });
    assert_eq!(lines(&found), [format!("Deleted : {declared} → -")]);
    assert_eq!(found.changes[0].class, FieldClass::Object);
}

#[test]
fn hostile_objects_are_compared_within_bounds() {
    let many = |count: usize| Value::Object((0..count).map(|i| (format!("k{i}"), json!("v"))).collect());
    let annotated = |annotations: Value| json!({"metadata": {"annotations": annotations}});
    let found = of(("", "ConfigMap"), &annotated(json!({})), &annotated(many(5_000)));
    assert_eq!((found.changes.len(), found.more, found.is_drift()), (MAX_CHANGES, 4_000, true));
    // One value of a megabyte.
    let large = |letter: &str| annotated(json!({"a": letter.repeat(1 << 20)}));
    let found = of(("", "ConfigMap"), &large("x"), &large("y"));
    let shown = found.changes[0].live.as_ref().map(Value::to_string).unwrap();
    assert!(shown.len() < MAX_VALUE_BYTES, "{} bytes", shown.len());
    // Ten thousand items, with and without merge keys, one of them more.
    let items = |count: usize| (0..count).map(|i| json!({"name": format!("n{i}"), "value": "v"})).collect::<Vec<_>>();
    let container = |env: Vec<Value>| deployment(json!({"containers": [{"name": "web", "env": env}]}));
    let found = of(DEPLOYMENT, &container(items(10_000)), &container(items(10_001)));
    assert_eq!(lines(&found).len(), 1);
    let widget = |list: Vec<Value>| json!({"spec": {"list": list}});
    let found = of(("example.org", "Widget"), &widget(items(10_000)), &widget(items(10_001)));
    assert_eq!(lines(&found), [r#"Added /spec/list/10000: - → {"name":"n10000","value":"v"}"#]);
}

#[test]
fn lists_in_lists_without_merge_keys_are_one_change_where_the_outermost_differs() {
    let nested = |more: bool| {
        let mut value = if more { json!([1, 2]) } else { json!([1]) };
        for _ in 0..4 {
            value = if more { json!([value, value]) } else { json!([value]) };
        }
        json!({"spec": {"list": value}})
    };
    let found = of(("example.org", "Widget"), &nested(false), &nested(true));
    assert_eq!(lines(&found).len(), 1);
}
