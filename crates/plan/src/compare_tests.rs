use serde_json::json;

use super::*;

fn deployment() -> GroupKind {
    GroupKind::new("apps", "Deployment")
}

fn check(expected: &Value, live: &Value) -> Vec<String> {
    declared_differences(expected, live, &deployment(), Visibility::Shown)
        .into_iter()
        .map(|diff| format!("{}: {} → {}", diff.path, diff.before.unwrap_or_default(), diff.after.unwrap_or_default()))
        .collect()
}

fn containers(items: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": items}}}})
}

#[test]
fn additions_and_defaults_are_no_differences() {
    let declared = containers(&json!([{"name": "web", "image": "a:1", "ports": [{"containerPort": 80}]}]));
    let live = containers(&json!([
        {"name": "sidecar", "image": "x"},
        {"name": "web", "image": "a:1", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
    ]));
    assert_eq!(check(&declared, &live), [] as [&str; 0]);
}

#[test]
fn edits_are_addressed_by_merge_key() {
    let declared = containers(&json!([{"name": "web", "image": "a:1"}, {"name": "gone", "image": "b"}]));
    let live = containers(&json!([{"name": "x"}, {"name": "web", "image": "evil"}]));
    assert_eq!(
        check(&declared, &live),
        [
            r#"spec.template.spec.containers[name=web].image: "a:1" → "evil""#,
            r#"spec.template.spec.containers[name=gone]: {"image":"b","name":"gone"} → "#,
        ]
    );
}

#[test]
fn long_lists_are_matched_as_short_ones_are() {
    for count in [3_u32, 100] {
        let port = |port: u32| json!({"containerPort": port, "hostPort": port + 1});
        let declared: Vec<_> = (1..=count).map(port).collect();
        let mut live: Vec<_> = (1..=count).rev().map(port).collect();
        for item in live.iter_mut().skip(1) {
            item["protocol"] = json!("TCP");
        }
        let of = |ports: &Vec<Value>| containers(&json!([{"name": "web", "ports": ports}]));
        assert_eq!(check(&of(&declared), &of(&live)), [] as [&str; 0]);
        live[0]["hostPort"] = json!(9);
        live[1]["protocol"] = json!("UDP");
        let found = check(&of(&declared), &of(&live));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains(&format!("ports[containerPort={}]: ", count - 1)), "{found:?}");
        assert!(found[1].contains(&format!("ports[containerPort={count}].hostPort: ")), "{found:?}");
    }
}

#[test]
fn a_list_without_merge_keys_is_one_value() {
    let declared = json!({"spec": {"x": [1, 2]}});
    assert_eq!(check(&declared, &json!({"spec": {"x": [1, 2]}})), [] as [&str; 0]);
    assert_eq!(check(&declared, &json!({"spec": {"x": [1, 3]}})), ["spec.x[1]: 2 → 3"]);
    assert_eq!(check(&declared, &json!({"spec": {"x": [1, 2, 3]}})), ["spec.x: [1,2] → [1,2,3]"]);
}

#[test]
fn secrets_are_masked_and_long_values_cut() {
    let secret = GroupKind::new("", "Secret");
    let found = declared_differences(
        &json!({"data": {"k": "aGk="}}),
        &json!({"data": {"k": "bG8="}}),
        &secret,
        Visibility::Masked,
    );
    let hidden = || Some("***".to_owned());
    let class = FieldClass::SecretData;
    assert_eq!(found, [FieldDiff { path: "data.k".into(), before: hidden(), after: hidden(), class }]);
    let long = check(&json!({"a": "x".repeat(5000)}), &json!({"a": 1}));
    assert!(long[0].len() < 300, "{}", long[0].len());
}

#[test]
fn the_list_of_differences_is_bounded() {
    let many = |value: u32| Value::Object((0..500).map(|i| (format!("k{i}"), json!(value))).collect());
    assert_eq!(check(&many(1), &many(2)).len(), MAX_DIFFERENCES + 1);
}

#[test]
fn both_directions_list_what_is_new_as_it_is_written() {
    let found = |before: &Value, after: &Value| {
        let found = differences(before, after, &deployment(), Visibility::Shown);
        found.into_iter().map(|diff| diff.path).collect::<Vec<_>>()
    };
    assert_eq!(found(&json!({"a": 1}), &json!({"b": 2})), ["a", "b"]);
    let limits = |cpu: &str| containers(&json!([{"name": "web", "resources": {"limits": {"cpu": cpu}}}]));
    assert_eq!(
        found(&limits("0.5"), &limits("500m")),
        ["spec.template.spec.containers[name=web].resources.limits.cpu"]
    );
}
